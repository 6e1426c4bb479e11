"""What a file or a folder that is given as a model is, told by its content.

    found = recognise(Path("my.model"))
    found.what      "a Git LFS pointer: it stands in a repository for the file itself"
    found.remedy    what to do about it
    found.name      how `--from` names it where a backbone opens it: "mace:my.model"

Nothing is unpickled: the names of classes are read off the opcodes of a pickle, and what has none is opened as tensors
and plain values. No name in a file is imported.
"""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from matgraft.core.stand_ins import BY_HAND, stand_in

_HEAD = 4096
"""Bytes that tell most kinds apart."""
_LONGEST_PICKLE = 200 * 2**20
"""Bytes of a pickle that are looked through; tensors lie beside it."""
_ANSWER = 100
"""Bytes of the longest answer of a server in one line, such as ``404: Not Found``."""
_LEGACY_PICKLES = 4
"""Of torch before 1.6: a magic number, a version, the system, the content."""

_AGAIN = "fetch or copy the file again, and compare its size with that at its source"
_BY_VENDOR = (
    "build the model with its vendor's code, load these weights into it, and save it with the vendor's own tool"
)
_UNTRAINABLE = "it only predicts: take the file that it was made from"
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a file compressed by gzip", "decompress it"),
    (b"BZh", "a file compressed by bzip2", "decompress it"),
    (b"\xfd7zXZ\x00", "a file compressed by xz", "decompress it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "decompress it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a rar archive", "unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", ""),
    (b"\x93NUMPY", "an array of numpy", ""),
)
_MATGL = ("model.json", "model.pt", "state.pt")
_MACE = {"architecture", "state", "references", "head"}
_ENCODER = {"elements.table", "amounts.mix.0.weight", "head.0.weight"}
_FAMILIES = {
    "atom_conv_layers.": "chgnet",
    "products.": "mace-torch",
    "element_refs.": "MatGL",
    "model.tensor_embedding.": "MatGL",
    "model.final_layer.": "MatGL",
}
"""How the names of weights begin -> the package whose names they are."""
RECOGNISED = ("chgnet", "mace", "matgl", "composition")
"""Backbones whose files and folders `recognise` knows."""
_PLAIN = {"torch", "collections", "builtins", "__builtin__", "numpy", "_codecs", "copyreg", "copy_reg"}


@dataclass(frozen=True)
class Found:
    """What a file or a folder is.

    Attributes
    ----------
    what
        In words, with their article.
    remedy
        What to do about it; empty where nothing helps but another file.
    name
        How `--from` names it; empty where no backbone opens it.
    classes
        Classes and functions that its pickle names, as ``module.name``.
    """

    what: str
    remedy: str = ""
    name: str = ""
    classes: tuple[str, ...] = ()


def recognise(path: Path) -> Found:
    """Say what a file or a folder is. Damaged bytes are no error: they are what it is."""
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(0)
        if instead := stand_in(head):
            return Found(*instead)
        for begins, what, remedy in _SIGNATURES:
            if head.startswith(begins):
                return Found(what, remedy)
        if not head:
            return Found("an empty file", _AGAIN)
        if head.startswith(b"PK"):
            return _zip(path)
        if head.startswith(b"\x80"):
            classes = _classes(file, _LEGACY_PICKLES if head[2:3] == b"\x8a" else 1)
            return _pickle(path, classes) if classes is not None else Found("a pickle whose end is missing", _AGAIN)
        return _jax(path, file) or _text(path, head) or _safetensors(path, file) or _other(path, head)


def instead_of_file(path: Path) -> Found | None:
    """Say what lies in the place of a file that was not fetched, or that is empty; None for all others."""
    if path.is_dir():
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if instead := stand_in(head):
        return Found(*instead)
    return None if head else Found("an empty file", _AGAIN)


# ------------------------------------------------------------------- folders


def _folder(path: Path) -> Found:
    names = sorted(one.name for one in path.iterdir() if not one.name.startswith("."))  # such as a lock
    if any((one / file).is_file() for one in (path, path / "model") for file in ("card.json", "heads.json")):
        return Found("a model folder of matgraft", name=str(path))
    lacking = [name for name in _MATGL if name not in names]
    if not lacking:
        return Found("a folder of MatGL", name=f"matgl:{path}")
    if len(lacking) < len(_MATGL):
        return Found(f"a folder of MatGL without {' and '.join(lacking)}", "fetch the rest from the same place")
    if "saved_model.pb" in names or any(name.endswith(".index") for name in names):
        return Found("a folder of TensorFlow, such as M3GNet's before MatGL", "take the weights that MatGL has")
    return Found(f"a folder with {', '.join(names[:3])}" if names else "an empty folder")


# -------------------------------------------------------- archives and pickles


def _zip(path: Path) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickled = [one for one in archive.infolist() if one.filename.endswith("/data.pkl")][:1]
            small = [one for one in pickled if one.file_size <= _LONGEST_PICKLE]
            content = archive.read(small[0]) if small else b""
    except Exception:  # damaged bytes make the reader stumble in any way
        return Found("a torch or zip file whose end is missing", _AGAIN)
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        return _torchscript(names)
    if pickled:
        return _pickle(path, _classes(io.BytesIO(content)) or ())
    if set(_MATGL) <= {Path(name).name for name in names}:
        return Found("a zipped folder of MatGL", "unzip it, and give the folder")
    if any(name.endswith("extern_modules") for name in names):
        return Found("a package of torch.package, such as NequIP's", _UNTRAINABLE)
    if any(name.endswith("archive_format") for name in names) or path.suffix == ".pt2":
        return Found("a program of torch.export (pt2)", _UNTRAINABLE)
    return Found(f"a zip archive with {', '.join(names[:3])}" if names else "an empty zip archive", "unpack it")


def _torchscript(names: Iterable[str]) -> Found:
    inside = [name.partition("__torch__/")[2] for name in names if "__torch__/" in name]
    packages = {one.partition("/")[0].removesuffix(".py") for one in inside} - {"torch", "e3nn", ""}
    of = f" of {', '.join(sorted(packages))}" if packages else ""
    purpose = ", written for LAMMPS" if any("lammps" in one.lower() for one in inside) else ""
    return Found(f"a TorchScript (JIT) program{of}{purpose}", _UNTRAINABLE)


def _classes(file: BinaryIO, pickles: int = 1) -> tuple[str, ...] | None:
    """Return the classes that pickles one after another name; None where they break off."""
    try:
        return tuple(dict.fromkeys(name for _ in range(pickles) for name in _names(file)))
    except Exception:  # damaged bytes make the reader stumble in any way
        return None


def _names(file: BinaryIO) -> Iterator[str]:
    texts: list[str] = []
    for code, argument, _ in pickletools.genops(file):
        if isinstance(argument, str) and code.name == "GLOBAL":
            yield argument.replace(" ", ".", 1)
        elif code.name == "STACK_GLOBAL":  # its two texts stand before it, but where they are named again by number
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)


def _pickle(path: Path, classes: tuple[str, ...]) -> Found:
    """Tell a pickled object by its outermost class, which a pickle names first."""
    own = next((name for name in classes if name.partition(".")[0] not in _PLAIN or ".nn." in name), "")
    if not own:
        return _torch_file(path, classes)
    package, name = own.partition(".")[0], own.rpartition(".")[2]
    if "lammps" in own.lower():
        return Found(f"a pickled {name} of {package}, written for LAMMPS", _UNTRAINABLE, classes=classes)
    if own.startswith("mace.modules."):
        return Found(f"a pickled {name} of mace-torch", name=f"mace:{path}", classes=classes)
    remedy = {
        "chgnet": "save it so: torch.save({'model': model.as_dict()}, 'new.pth.tar')",
        "matgl": "save it so: potential.save('FOLDER')",
    }
    return Found(f"a pickle that holds a {name} of {package}", remedy.get(package, ""), classes=classes)


def _torch_file(path: Path, classes: tuple[str, ...]) -> Found:
    """Tell tensors and plain values by their names."""
    try:
        # Mapped into memory, tensors are not read; a file of torch before 1.6 cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception:  # whatever damaged bytes, or a class that torch does not open by itself, lead to
        others = [name for name in classes if not name.startswith(("torch", "collections"))]
        if others:
            return Found(
                f"a torch file that also holds {', '.join(others[:3])}", "save it again with tensors and plain values"
            )
        return Found("a damaged torch file", _AGAIN)
    if not isinstance(content, Mapping):
        return Found(f"a torch file with a {type(content).__name__} alone")
    names = set(map(str, content))
    model = content.get("model")
    if isinstance(model, Mapping) and {"state_dict", "model_args"} <= set(model):
        return Found("a file of chgnet", name=f"chgnet:{path}")
    if names >= _MACE:
        return Found("tensors of a MACE that matgraft saved", name=f"mace:{path}")
    if all((path.parent / one).is_file() for one in _MATGL):
        return Found("one of the files in a folder of MatGL", name=f"matgl:{path.parent}")
    if names == {"state", "weights", "optimizer"}:
        return Found("a checkpoint of a fit by matgraft", "give the folder of the run")
    if "pytorch-lightning_version" in names:
        remedy = "of MatGL: PotentialLightningModule.load_from_checkpoint(FILE, ...).model.save('FOLDER')"
        return Found("a checkpoint of Lightning", remedy)
    if isinstance(model, Mapping) and {"optimizer", "lr_scheduler"} <= names:
        remedy = "mace_run_train writes a .model file as well: take that"
        return Found("a training checkpoint of mace-torch: weights without their architecture", remedy)
    return _weights(content)


def _weights(content: Mapping[object, object]) -> Found:
    nested = (content.get(name) for name in ("state_dict", "model_state_dict", "model"))
    state = next((one for one in nested if isinstance(one, Mapping)), content)
    if not state or not all(isinstance(one, Tensor) for one in state.values()):
        return Found(f"a torch file with {', '.join(map(str, list(content)[:5])) or 'nothing in it'}")
    names = [str(name).removeprefix("module.") for name in state]
    packages = (package for begins, package in _FAMILIES.items() for name in names if name.startswith(begins))
    of = next((f" of {package}" for package in packages), "")
    return Found(f"a state dict{of}: weights without their architecture", _BY_VENDOR)


# ---------------------------------------------------------------- other files


def _jax(path: Path, file: BinaryIO) -> Found | None:
    file.seek(0)
    if file.readline(2**20).startswith(b"{") and file.read(6) == b"\x93NUMPY":
        return Found("a line of JSON and the arrays of a JAX model, as Nequix has them (.nqx)", name=f"nequix:{path}")
    return None


def _text(path: Path, head: bytes) -> Found | None:
    """Tell text; None for what is none."""
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return None
    text = head.decode("utf-8-sig", errors="ignore")  # a letter may be cut at the end of the bytes
    if len(text) < 0.7 * len(head):
        return None
    begins = text.lstrip().lower()
    if begins.startswith("<"):
        return Found("an XML file, such as the answer of a server that has no such file", BY_HAND)
    if begins.startswith("{"):
        return Found("a JSON file") if path.suffix == ".json" else Found("a text file with JSON", _AGAIN)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(head) <= _ANSWER and first == text.strip():
        return Found(f"a line of text, such as the answer of a server that has no such file: {first!r}", BY_HAND)
    return Found(f"a text file that begins with {first[:60]!r}")


def _safetensors(path: Path, file: BinaryIO) -> Found | None:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_PICKLE:
        return None
    header = file.read(length)
    if not header.startswith(b"{"):
        return None
    with suppress(ValueError):
        tensors = json.loads(header)
        ends = [one["data_offsets"][1] for one in tensors.values() if isinstance(one, dict) and "data_offsets" in one]
        if len(header) == length and path.stat().st_size >= 8 + length + max(ends, default=0):
            own = f"composition:{path}" if tensors.keys() >= _ENCODER else ""
            return Found("a safetensors file: weights without their architecture", _BY_VENDOR if not own else "", own)
    return Found("a safetensors file whose end is missing", _AGAIN)


def _other(path: Path, head: bytes) -> Found:
    if head[257:262] == b"ustar":
        return Found("a tar archive", "unpack it")
    if path.suffix == ".pb":
        return Found("a graph of TensorFlow")
    if head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in b"\x12\x1a\x22\x28\x32\x3a\x42":
        return Found("an ONNX file", _UNTRAINABLE)
    return Found("a binary file of a kind that matgraft does not know")
