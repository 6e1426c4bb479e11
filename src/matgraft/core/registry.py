"""Names of foundations -> adapters, and model folders back to models.

Which foundations there are, each wing says in a table of its own; here is how a name becomes a model.

    load("chgnet")                    shipped weights, by default the latest
    load("chgnet:r2scan")             a named release
    load("chgnet:my/model.pth.tar")   a file or folder in the vendor's format
    load("matgl:NAME")                weights that the vendor fetches by their name, where its loader can
    load("mace:my.model@HASH#pbe")    a file whose hash is known to the user, and one of its heads
    load("runs/si")                   a run of `matgraft tune`, or a folder of `matgraft export --to native`
    load("runs/si#PBE")               one of the heads of a run of strategy multihead

A backbone is one row of such a table, one adapter, one extra; other packages add rows (`matgraft.core.plugins`).
Vendors are imported when their adapter is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, computed_field

from matgraft.core import manifest
from matgraft.core.errors import DataError, ExtraError, OptionError, choose
from matgraft.core.frozen import Frozen
from matgraft.core.model import Backbone, ModelCard
from matgraft.core.model_files import RECOGNISED, Found, instead_of_file, recognise
from matgraft.core.run_folder import RunFile, last_model, resume_commands
from matgraft.core.weights import refuse_infinite_weights

_HASH = re.compile("[0-9a-fA-F]+")


def _folder_name(name: str) -> str:
    """Refuse the name of a head that is a path, and so would leave the folder of the model."""
    if Path(name).name != name or name == ".." or not name.isprintable():
        raise ValueError(f"{name!r} is not a name of a head")
    return name


class Head(Frozen):
    """One of several heads.

    Attributes
    ----------
    n_train
        Frames that it was trained on; of the foundation's own head those that were rehearsed.
    theory
        Their level of theory in words.
    """

    n_train: int
    theory: str


class Heads(Frozen):
    """A model with several heads; each is a model of its own, in a folder of its name.

    Attributes
    ----------
    parent
        Card of the foundation that they come from.
    """

    heads: dict[Annotated[str, AfterValidator(_folder_name)], Head]
    licence: str
    parent: ModelCard


CARD = RunFile("card.json", ModelCard)
HEADS = RunFile("heads.json", Heads)
"""File of a model folder with several heads."""


class BackboneRow(Frozen):
    """One backbone.

    Attributes
    ----------
    adapter
        ``module:Class`` with ``shipped(release)`` and ``from_file(path)``, and those of `options` as keywords.
    package, extra
        What it needs, and the extra that brings it (empty: always installed).
    releases
        Named weights; the first is the default.
    opens
        The file or folder that `from_file` opens.
    weights_from
        Where they come from, and whether that needs a network.
    any_name
        True if the vendor's loader knows more names than the releases listed.
    newest_python
        The newest Python that the package has a wheel for; None if it has one for every Python.
    options
        What may stand behind release or file: ``sha256`` (``@1f3b...``), ``head`` (``#pbe``).
    stages
        What a strategy may name, input to readout; globs where the number depends on the model.
    exports
        Target of an export -> what is written for it.
    """

    adapter: str
    package: str
    extra: str
    releases: tuple[str, ...]
    opens: str
    weights_from: str
    licence: str
    any_name: bool = False
    newest_python: tuple[int, int] | None = Field(None, exclude=True)
    options: tuple[str, ...] = ()
    stages: tuple[str, ...] = ("embedding", "interaction-*", "readout")
    exports: Mapping[str, str] = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def installed(self) -> bool:
        """True if the vendor's package can be imported."""
        return importlib.util.find_spec(self.package) is not None


Rows = Mapping[str, BackboneRow]
"""Backbones by name."""


def load_from(rows: Rows, name: str | Path, instead: Mapping[str, str] | None = None) -> Backbone:
    """Load a foundation by name, or a tuned model by its folder; parameters and errors as of `opener_of`."""
    return opener_of(rows, name, instead)()


def opener_of(rows: Rows, name: str | Path, instead: Mapping[str, str] | None = None) -> Callable[[], Backbone]:
    """Return what loads a foundation or a tuned model; a name that nothing stands behind is refused at once.

    Nothing is loaded for that.

    Parameters
    ----------
    rows
        The backbones to choose from, by name.
    instead
        What to do instead, by names of backbones that are not among them.

    Raises
    ------
    OptionError
        If the name is unknown; the nearest one is named.
    DataError
        If a folder is not there or holds no model, or a file is another than the backbone opens; it says what it is.
    ExtraError
        If the vendor's package is not installed.
    """
    if part_head(name)[0].is_dir():
        model_folder(Path(name))
        return lambda: load_folder_from(rows, Path(name), instead)
    backbone, _, which = str(name).partition(":")
    if backbone not in rows and Path(name).is_file():
        raise _no_model(Path(name), recognise(Path(name)), "its backbone is not named")
    if backbone not in rows and "/" in str(name):
        raise _absent(part_head(name)[0])
    row = choose(backbone, rows, "backbone", instead)
    if not row.installed:
        raise _missing(row, rows)
    which, options = _options(which, row, str(name))
    which = which or row.releases[0]
    if which in row.releases:
        return lambda: _adapter(row).shipped(which, **options)  # type: ignore[attr-defined]
    if Path(which).exists():
        _refuse_another(Path(which), backbone, row)
        return lambda: _adapter(row).from_file(Path(which), **options)  # type: ignore[attr-defined]
    if row.any_name and Path(which).name == which:
        return lambda: _adapter(row).shipped(which)  # type: ignore[attr-defined]
    raise OptionError(f"{name!s} is neither a release nor a file", allowed=[f"{backbone}:{r}" for r in row.releases])


def _absent(path: Path) -> DataError:
    if path.suffix:
        return DataError(
            "there is no such file",
            where=str(path),
            remedy="check the path; a file of another package is named with its backbone, such as mace:PATH",
        )
    return DataError(
        "there is no such folder",
        where=str(path),
        remedy="name the folder of a finished run, which `matgraft tune` names in its last lines",
    )


def _missing(row: BackboneRow, rows: Rows) -> ExtraError:
    """Return the error for a package that is not installed: what is, and whether this Python can have it."""
    there = ", ".join(name for name, one in rows.items() if one.installed)
    said = [f"installed here: {there}"] if there else []
    if row.newest_python is not None and sys.version_info[:2] > row.newest_python:
        newest, own = (".".join(map(str, one)) for one in (row.newest_python, sys.version_info[:2]))
        said.insert(0, f"{row.package} has no wheel above Python {newest}, and this is {own}: use Python {newest}")
    return ExtraError(row.package, row.extra, "; ".join(said))


def load_folder_from(rows: Rows, folder: Path, instead: Mapping[str, str] | None = None) -> Backbone:
    """Load the tuned model of a run folder, or of an exported one; of several heads the one that ``#`` names."""
    model = model_folder(folder)
    name = CARD.read(model).backbone
    row = choose(name, rows, "backbone", {name: f"install the package that adds {name!r}", **(instead or {})})
    if not row.installed:
        raise _missing(row, rows)
    adapter = _adapter(row)
    manifest.note_older(model)
    manifest.check_folder(model)
    _refuse_another(_own_file(adapter, model), name, row)
    backbone = _own(adapter, model)
    refuse_infinite_weights(backbone.module, model)
    backbone.card, backbone.folder = card_of(model, backbone), model
    return backbone


def _refuse_another(path: Path, backbone: str, row: BackboneRow) -> None:
    """Raise a DataError if a file or a folder is not of the kind that a backbone opens.

    Files of other packages' backbones are known to their adapters alone; here it is told only what is no model at all.
    """
    if not path.exists():
        return
    found = recognise(path) if backbone in RECOGNISED else instead_of_file(path)
    if found and found.name != f"{backbone}:{path}":
        raise _no_model(path, found, f"not what {backbone} opens", row.opens)


def _no_model(path: Path, found: Found, problem: str, *wanted: str) -> DataError:
    return DataError(
        f"this is {found.what}; {problem}",
        where=str(path),
        allowed=wanted,
        remedy=found.remedy or ("" if found.name else "`matgraft backbones` lists what can be tuned"),
        options=[{"foundation": found.name}] if found.name else (),
    )


def card_of(folder: Path, backbone: Backbone) -> ModelCard:
    """Return the card of a folder that a model was opened from.

    Raises
    ------
    DataError
        If the card describes other weights.
    """
    card = CARD.read(folder)
    if card.weights_sha256 != backbone.card.weights_sha256:
        raise DataError("the weights are not the ones that the card describes", where=str(folder))
    return card


def part_head(name: str | Path) -> tuple[Path, str]:
    """Part ``runs/si#PBE`` into the folder and the head. A folder whose own name looks so is taken as it is.

    Of a loop of active learning the folder is that of its last model.
    """
    folder, _, head = str(name).rpartition("#")
    return (last_model(Path(name)), "") if Path(name).is_dir() or not folder else (Path(folder), head)


def model_folder(name: Path) -> Path:
    """Return the folder that holds a model's card.

    Parameters
    ----------
    name
        ``runs/si``, ``runs/si/model``, ``runs/si#PBE`` or ``runs/si/model#PBE``.

    Raises
    ------
    DataError
        If there is none.
    OptionError
        If the model has several heads and none of them is named, or it has one and another is.
    """
    folder, head = part_head(name)
    if str(name).endswith("#") and not head and not name.is_dir():
        raise OptionError(f"no head is named behind # in {name}", allowed=[str(folder), f"{folder}#HEAD"])
    holds = [one for one in (folder / "model", folder) for file in (CARD, HEADS) if (one / file.name).is_file()]
    model = next(iter(holds), None)
    if model is None:
        begun = resume_commands(folder)
        if not folder.exists():
            raise _absent(folder)
        if not begun:
            raise _no_model(folder, recognise(folder), "neither a finished run nor a model folder")
        raise DataError(
            "neither a finished run nor a model folder",
            where=str(folder),
            remedy="finish the run",
            commands=begun,
        )
    if not (model / HEADS.name).is_file():
        if head:
            raise OptionError(f"{folder} has no heads, so that #{head} names none", allowed=[str(folder)])
        return model
    names = list(HEADS.read(model).heads)
    if not head:
        raise OptionError(
            f"{folder} has {len(names)} heads and none is chosen", allowed=[f"{folder}#{one}" for one in names]
        )
    return model / choose(head, {one: one for one in names}, f"head of {folder}")


def save_folder(backbone: Backbone, folder: Path, card: Callable[[ModelCard], ModelCard] = lambda card: card) -> None:
    """Write the native file or folder, the tensors beside it where it is a pickle, and the card.

    Parameters
    ----------
    card
        Makes the card to write from the backbone's own, whose hash is that of the file that matgraft opens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest.begin(folder)
    backbone.save(folder / backbone.native_file)
    backbone.card = card(_own(type(backbone), folder).card)
    CARD.write(folder, backbone.card)


def _options(which: str, row: BackboneRow, name: str) -> tuple[str, dict[str, str]]:
    """Part ``file.model@1f3b...#pbe`` into file and options. A file whose own name looks so is taken as it is."""
    if which in row.releases or Path(which).is_file():
        return which, {}
    before, _, head = which.partition("#")
    file, sign, sha256 = before.rpartition("@")
    if not (sign and _HASH.fullmatch(sha256)):
        file, sha256 = before, ""
    options = {option: value for option, value in (("sha256", sha256), ("head", head)) if value}
    if idle := sorted(set(options) - set(row.options)):
        raise OptionError(
            f"{name}: {' and '.join(idle)} {'is' if len(idle) == 1 else 'are'} not read with this backbone",
            allowed=row.options,
        )
    return file, options


def _own(adapter: type[Backbone], folder: Path) -> Backbone:
    """Open the model that `Backbone.save` wrote into a folder."""
    return adapter.from_file(_own_file(adapter, folder))  # type: ignore[attr-defined]


def _own_file(adapter: type[Backbone], folder: Path) -> Path:
    return folder / (adapter.weights_file or adapter.native_file)


def _adapter(row: BackboneRow) -> type[Backbone]:
    module, _, name = row.adapter.partition(":")
    return getattr(importlib.import_module(module), name)
