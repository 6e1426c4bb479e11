"""Read one's own DFT frames, whatever they are in, and state what was taken for what.

>>> data = read("frames.extxyz")                                 # energy, forces and stress are found by name
>>> data = read("runs/", want=("energy", "forces", "stress"))    # every run of a code below the folder
>>> data = read("frames.extxyz", keys={"energy": "my_e"}, units={"energy": "eV/atom", "stress": "-kBar"})

Files are told apart by content: outputs of codes, JSON records, and everything that ASE reads, each by a file of
`reading.formats`. Names of keys are found in `reading.keys`, numbers become labels in `reading.labels`, the level of
theory comes from the output or from a YAML file beside the data (`reading.theory`). What was decided stands in the
dataset's provenance: keys and units of each file, and notes. A store of frames (`data.store`) is opened, not read: its
samples are read when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Unpack

from matgraft.core.errors import DataError, OptionError
from matgraft.core.provenance import LevelOfTheory, Provenance, few_names
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.keys import WANT, Choices, Reading
from matgraft.potentials.data.reading.ledger import Ledger
from matgraft.potentials.data.reading.opening import all_broken, leaving_out, naming_file, raw_file, raw_files
from matgraft.potentials.data.reading.samples import samples_of
from matgraft.potentials.data.reading.sources import Source, locate
from matgraft.potentials.data.reading.theory import read_theory
from matgraft.potentials.data.reading.wishes import refuse_unmet, wants_without
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import refuse_senseless, require_sense
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_format import is_store


def read(
    source: str | Path | Sequence[str | Path],
    *,
    beside: bool = False,
    progress: bool = False,
    audited: bool = False,
    **how: Unpack[Reading],
) -> Dataset:
    """Read frames with their labels from files and folders.

    Parameters
    ----------
    source
        A file, a folder to search for runs of codes, or several of them; or one store of frames, whose labels are
        canonical and leave the options nothing to say.
    beside
        The file stands beside others that the options were said for: they need not act on it.
    progress
        Show a progress bar over the files.
    audited
        True where an audit follows, which names the structures that make no sense. Else they are refused here.
    how
        Options: `matgraft.potentials.data.reading.keys.Reading`.

    Returns
    -------
    Dataset
        Labels in canonical units: energy () eV, forces (n, 3) eV/Å, stress (3, 3) eV/Å³ with ASE's sign. The structures
        carry no calculator, no constraints and no further arrays. Every scalar of the file is a tag. ``file`` and
        ``frame`` say where a frame came from, unless the file itself says so under these names; runs of codes add
        ``trajectory``, ``folder`` and ``converged``.

    Raises
    ------
    DataError
        If a file is missing, empty, unreadable or cut off; if a wanted label is nowhere; if two keys contradict each
        other; if a value has a wrong shape; if periodic cell vectors are not independent; if structures make no sense
        (`matgraft.potentials.data.sense`).
    OptionError
        If an option cannot be meant, or is not read.
    """
    sources = _locate(source)
    if any(is_store(one.path) for one in sources):
        return _open_store(sources, how)
    choices, stated = Choices.parse(how), _stated(how.get("theory"))
    ledger = Ledger()
    _tell_unread(sources, ledger)
    files = raw_files(sources, ledger, progress)
    samples: list[Sample] = []
    unsaid: list[DataError] = []
    for one, file in files:
        with leaving_out(one, ledger, unsaid), naming_file(one):
            samples.extend(tuple(samples_of(one, file, choices, stated, ledger)))
    if len(unsaid) == len(files):
        raise all_broken(unsaid)
    refuse_unmet(ledger, choices, few_names([one.name for one in sources]), beside)
    dataset = Dataset(tuple(samples), ledger.provenance())
    if not audited:
        refuse_senseless(dataset)
    return dataset


class Stream(Iterable[Sample]):
    """The samples that `read` returns, one after another, for data larger than the memory.

    What is in memory is one file's frames, of a file that ASE reads one frame; an error is raised where it is met.
    Parameters and errors are those of `read`.
    """

    def __init__(self, source: str | Path | Sequence[str | Path], **how: Unpack[Reading]) -> None:
        self.sources = _locate(source)
        if stores := [one.name for one in self.sources if is_store(one.path)]:
            raise OptionError(f"{stores[0]} is a store already", allowed=["files in the formats of codes"])
        self._choices, self._stated, self._ledger = Choices.parse(how), _stated(how.get("theory")), Ledger()

    def __iter__(self) -> Iterator[Sample]:
        """Walk over the samples, once."""
        broken: list[DataError] = []
        _tell_unread(self.sources, self._ledger)
        for source in self.sources:
            try:
                file = raw_file(source)
            except DataError as error:
                if not source.found:
                    raise
                broken.append(error)
                self._ledger.note(source.name, f"left out: {error.found}")
            else:
                with leaving_out(source, self._ledger, broken), naming_file(source):
                    for sample in samples_of(source, file, self._choices, self._stated, self._ledger):
                        require_sense(sample.content, sample.where)
                        yield sample
        if len(broken) == len(self.sources):
            raise all_broken(broken)
        refuse_unmet(self._ledger, self._choices, few_names([one.name for one in self.sources]))

    def provenance(self) -> Provenance:
        """Return what is known of the files that have passed."""
        return self._ledger.provenance()


def _locate(source: str | Path | Sequence[str | Path]) -> list[Source]:
    return locate([source] if isinstance(source, (str, Path)) else list(source))


def _tell_unread(sources: Sequence[Source], ledger: Ledger) -> None:
    """Enter a note on the files of frames that searches left alone and nobody named."""
    read = {source.name for source in sources}
    if names := [name for source in sources for name in source.unread if name not in read]:
        ledger.note(
            few_names(names),
            "not read: a folder is searched for runs alone; a file of frames is read where it is named",
        )


def _stated(theory: str | Path | None) -> LevelOfTheory | None:
    return None if theory is None else read_theory(Path(theory))


def _open_store(sources: Sequence[Source], how: Reading) -> Dataset:
    """Open the one store that is named; whatever says how numbers are read is refused."""
    where = sources[0].name
    if len(sources) > 1:
        raise OptionError(
            f"{len(sources)} files, a store among them: a store stands alone",
            remedy="pack the frames of all files into one store",
        )
    if how.get("delta"):
        raise OptionError(
            "delta is not read: a store holds no labels of a cheap method",
            where=where,
            remedy="give the files that the store was packed from",
        )
    if idle := [name for name, value in how.items() if value and name != "want"]:
        raise OptionError(
            f"{', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not read: the labels of a store are canonical",
            where=where,
            remedy="say it when the frames are packed",
        )
    dataset, want = open_store(sources[0].path), how.get("want", WANT)
    for quantity in want:
        if not dataset.count(quantity):
            raise DataError(
                f"no frame in the store has {quantity}",
                where=where,
                allowed=dataset.quantities(),
                remedy=f"pack the frames again and name the key of the {quantity}, or do not ask for it",
                options=wants_without(quantity, want, dataset.quantities()),
            )
    return dataset
