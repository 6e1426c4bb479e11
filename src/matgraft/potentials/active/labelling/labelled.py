"""What came of labelling, as facts."""

from __future__ import annotations

from matgraft.core.frozen import Frozen
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.fingerprint import Compared


class Try(Frozen):
    """A calculation that failed: why, and after how many seconds."""

    reason: str
    seconds: float


class Failure(Frozen):
    """A frame without a label.

    Attributes
    ----------
    frame
        Its number among all that were asked, from 0.
    where
        File and number in it.
    reason
        Of the last try.
    before
        Whether it failed in an earlier call, and was not tried again.
    output
        File with what the program printed last, packed by xz; empty where there is none.
    """

    frame: int
    where: str
    reason: str
    tries: tuple[Try, ...] = ()
    before: bool = False
    output: str = ""


class Moved(Frozen):
    """How far a label moves as one setting changes.

    Attributes
    ----------
    setting
        ``"k-mesh"``, ``"cutoff"``, ``"shift"`` (the same frame, moved as a whole) or ``"again"``.
    before, after
        The setting in words.
    energy_meV_per_atom
        Of the whole energy, with its sign: most of it is the same in all frames of a composition.
    difference_meV_per_atom
        Of the energy by which the frame lies above another of its composition; None where none was computed.
    forces_eV_per_A
        Root mean square of the change of the components.
    stress_GPa
        The same of stress; None where there is none.
    beyond
        Names of the quantities that move beyond what is aimed for.
    failed
        Why there is no figure; empty where there is one.
    """

    setting: str
    before: str
    after: str
    energy_meV_per_atom: float = 0.0
    difference_meV_per_atom: float | None = None
    forces_eV_per_A: float = 0.0
    stress_GPa: float | None = None
    beyond: tuple[str, ...] = ()
    failed: str = ""


class Probe(Frozen):
    """How far labels are converged, and how much noise they have.

    Attributes
    ----------
    frame, formula, n_atoms
        What was computed.
    partner
        The other frame of its composition, in words.
    moved
        One for each setting that was changed.
    """

    frame: int
    formula: str
    n_atoms: int
    partner: str = ""
    moved: tuple[Moved, ...]

    @property
    def beyond(self) -> bool:
        """Whether anything moves beyond what is aimed for."""
        return any(one.beyond for one in self.moved)

    @property
    def noise(self) -> Moved | None:
        """The frame moved as a whole: what differs there is noise."""
        return next((one for one in self.moved if one.setting == "shift" and not one.failed), None)


class Labelled(Frozen):
    """What came of labelling.

    Attributes
    ----------
    engine, engine_key
        Name of the calculator, and the hash under which its labels are kept.
    n_asked, n_labelled
        Frames.
    n_from_store
        Frames whose label was in the store before.
    n_computed
        Calculations that gave a label; frames that are equal are computed once.
    theory
        What the level of theory of all labels has in common.
    compared
        The engine beside the training data; None where nothing was given to compare with.
    calculation_s
        Seconds of all calculations together.
    """

    engine: str
    engine_key: str
    n_asked: int
    n_labelled: int
    n_from_store: int
    n_computed: int
    failures: tuple[Failure, ...]
    theory: LevelOfTheory | None
    compared: Compared | None = None
    probe: Probe | None = None
    notes: tuple[str, ...] = ()
    seconds: float
    calculation_s: float
    store: str
    written: str = ""

    @property
    def exit_code(self) -> int:
        """0 where every frame has a label, else 1."""
        return 1 if self.failures else 0
