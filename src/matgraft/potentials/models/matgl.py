"""MatGL behind the contract: TensorNet, M3GNet, SO3Net and MatGL's CHGNet, by folder or by name.

    load("matgl:models/TensorNet-MatPES-PBE-v2025.1-PES")    a folder of ``matgl`` (model.json, model.pt, state.pt)
    load("matgl:TensorNet-PES-MatPES-PBE-2025.2")            a name, through MatGL's own download and its cache

The vendor's readout is a gated MLP an atom, times a scale, and reference energies: E_i = data_std * gated(h_i) +
reference(Z_i). The scale is part of the head. Files are read as tensors and plain values, and only the four
architectures are built: no name in a file decides what is imported. A network is evaluated by
`matgraft.potentials.models.matgl_networks`, in its weights' own precision.

MatGL's calculator takes a frame that is periodic in one or two directions for a molecule; here it is periodic in these.

Source: Ko et al., npj Computational Materials 11, 253 (2025), and the package matgl (BSD-3-Clause).
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, chemical_symbols
from ase.neighborlist import neighbor_list
from numpy._core.multiarray import _reconstruct  # MatGL trusts it by this name; numpy 1 wrote it as numpy.core's
from numpy.typing import NDArray
from torch import Tensor, nn

with warnings.catch_warnings():  # matgl 4.1.2 compiles four functions in a way that torch 2.13 calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from matgl.apps.pes import Potential as VendorPotential
    from matgl.ext.ase import PESCalculator
    from matgl.layers._atom_ref import AtomRef
    from matgl.models import CHGNet, M3GNet, SO3Net, TensorNet
    from matgl.utils import io as vendor_io

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import whole
from matgraft.core.model import Batch, Encoded, Stage
from matgraft.core.provenance import UNCORRECTED, LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.core.weights import load_tensors, save_tensors
from matgraft.potentials.data.cells import box, volume
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.bonds import bond_vectors, find_bonds, join
from matgraft.potentials.models.lammps import LammpsFile
from matgraft.potentials.models.matgl_networks import NETWORKS, Bonds, pair_bonds
from matgraft.potentials.models.potential import Origin, Potential, Vendor
from matgraft.potentials.models.references import write_references

FILES = ("model.json", "model.pt", "state.pt")
"""What the vendor's loader wants in a folder: the class, its arguments, its weights."""

_REFERENCES = "element_refs.property_offset"
"""Name of the vendor's reference energies, (n_elements,) eV an atom."""

_METADATA = "references_eV"
"""Name under which model.json holds all of them in float64: symbol -> eV an atom."""

_CLASSES: dict[str, type[nn.Module]] = {"TensorNet": TensorNet, "M3GNet": M3GNet, "CHGNet": CHGNet, "SO3Net": SO3Net}
_NO_SUM = {
    "QET": "its charges are those of the whole frame, so that its energy is not a sum of readouts",
    "MEGNet": "it reads a property off a whole frame",
}
"""Other classes of MatGL -> why they cannot be tuned."""
_SCRIPTED = ("TensorNet", "M3GNet")
"""What MatGL's exporter for LAMMPS takes."""
_MATPES_PBE = LevelOfTheory(
    code="VASP", functional="PBE", spin=True, soc=False, cutoff_eV=680.0, correction=UNCORRECTED
)
KNOWN: dict[str, tuple[str, LevelOfTheory]] = {
    "TensorNet-MatPES-PBE-v2025.1-PES": (
        "72b61b3b26c4f32fefbbb38e2477373f712cf68d8fbef40aaf3fbccbbbeb7fe1",
        _MATPES_PBE,
    ),
    "M3GNet-MatPES-PBE-v2025.1-PES": ("de59b23e76f84a7068b2f3b8416050d732c838a8ee4eb25793882d9e37f19631", _MATPES_PBE),
}
"""Weights known by their hash: name -> hash, level of theory."""

_RAISED_BY = {
    "centre": "numbers",
    "neighbour": "numbers",
    "short_bond": "centre",
    "pair_sender": "short_bond",
    "pair_receiver": "short_bond",
}
"""Tensor of indices -> the tensor whose rows they count."""


class ScaledReadout(nn.Module):
    """The vendor's readout an atom, times its ``data_std``: (N, width) -> (N, 1) eV."""

    scale: Tensor

    def __init__(self, readout: nn.Module, scale: Tensor) -> None:
        super().__init__()
        self.readout = readout
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the atoms' energies without references, eV."""
        return self.scale * self.readout(features)


_VENDOR = Vendor(
    "matgl",
    "matgl",
    "BSD-3-Clause",
    "Ko et al., npj Computational Materials 11, 253 (2025), doi 10.1038/s41524-025-01742-y",
)


class MatGLPotential(Potential):
    """A potential of MatGL and everything tuned from it.

    Parameters
    ----------
    module
        The vendor's potential; it is used as it is, and changed by training.
    references
        (n_elements,) eV in the vendor's order of elements, kept in float64. Default: the vendor's own, if it has some.
    origin
        Where the weights come from, see `Origin`.
    """

    pair_bytes = 50_000
    """Measured on the published TensorNet and M3GNet, 64 and 512 atoms of silicon: 43,000 to 55,000."""

    native_file = "matgl"
    rate = 3e-4

    def __init__(
        self,
        module: Any,
        *,
        references: Tensor | None = None,
        **origin: Unpack[Origin],
    ) -> None:
        _refuse_what_does_not_fit(module)
        self.module: nn.Module = module
        self.architecture = type(module.model).__name__
        self._elements = [atomic_numbers[symbol] for symbol in module.model.element_types]
        self._species = np.full(len(chemical_symbols), -1)
        self._species[self._elements] = np.arange(len(self._elements))
        _add_references(module, self._elements, references)
        elements = (chemical_symbols[Z] for Z in sorted(self._elements))
        self.card = self.describe(_VENDOR, elements, float(module.model.cutoff), module.data_std.dtype, origin)

    @classmethod
    def shipped(cls, release: str) -> MatGLPotential:
        """Load weights by their name: from MatGL's cache, or by its own download from the Hugging Face Hub."""
        source = f"{vendor_io.HF_MATGL_ORG}/{release}"
        try:
            files = vendor_io._download_from_hf_hub(source)
        except Exception as error:  # no network, no such name, no right to write: the hub's client has many
            raise DataError(
                f"neither in MatGL's cache nor to be had from the Hugging Face Hub ({type(error).__name__})",
                where=source,
                remedy=f"put {', '.join(FILES)} of {source} into a folder, and give that: matgl:FOLDER",
            ) from error
        return cls.from_file(files["state.pt"].parent, name=f"matgl:{release}", source=f"Hugging Face Hub, {source}")

    @classmethod
    def from_file(
        cls, path: Path, *, name: str = "", theory: LevelOfTheory | None = None, source: str = ""
    ) -> MatGLPotential:
        """Load a folder in MatGL's own format. Only tensors and plain values are read: nothing is unpickled."""
        module, note = _vendor_potential(path)
        state = load_tensors(path / "state.pt")
        module.to(_precision(state))
        _load_state(module, state, path)
        digest = folder_hash(path)
        known = {sha256: (f"matgl:{known_name}", level) for known_name, (sha256, level) in KNOWN.items()}
        known_name, known_theory = known.get(digest, (path.name, None))
        return cls(
            module,
            references=_written_references(module, path, state),
            name=name or known_name,
            theory=theory or known_theory,
            weights_from=(source or path.name) + note,
            weights_sha256=digest,
        )

    def save(self, path: Path) -> None:
        """Write a folder that ``matgl.load_model`` and `from_file` open.

        model.json holds the references in float64. The vendor's loader sees those that the weights' precision carries.
        """
        plain = self._plain()
        part = path.with_name(path.name + ".part")
        own = self.references.detach().cpu()[torch.tensor(self._elements) - 1].tolist()
        plain.save(part, metadata={_METADATA: dict(zip(plain.model.element_types, own, strict=True))})
        path.mkdir(exist_ok=True)
        for name in FILES:
            with whole(path / name) as one:
                if name == "state.pt":
                    save_tensors(plain.state_dict(), one)
                else:
                    (part / name).replace(one)
        shutil.rmtree(part)
        write_references(self.references_left_out(), path.parent)

    def vendor_calculator(self, path: Path) -> Calculator:
        """Return MatGL's own calculator, in eV/Å³."""
        return PESCalculator(vendor_io.load_model(path), stress_unit="eV/A3", use_voigt=True)

    def calculator_source(self) -> tuple[str, str, str]:
        """Return the lines of a script that needs matgl alone."""
        imports = "import matgl\nfrom matgl.ext.ase import PESCalculator"
        load = f"matgl.load_model(Path(__file__).with_name({self.native_file!r}))"
        return "matgl", imports, f'return PESCalculator({load}, stress_unit="eV/A3", use_voigt=True)'

    @property
    def file_dtype(self) -> str:
        """float32, as which the vendor's loader opens weights of any precision."""
        return "float32"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What MatGL's own calculator gets wrong."""
        return (
            "MatGL's own calculator takes a sheet or a wire (pbc T T F or T F F) for a molecule: energy, forces and "
            f"stress are others than the model's. Give it pbc T T T, in a cell with more than {self.card.cutoff_A:g} Å "
            "of vacuum, or take calculator.py of an export --to ase, which does so itself",
        )

    def lammps_file(self) -> LammpsFile:
        """Return MatGL's TorchScript of TensorNet or M3GNet, in the model's own precision."""
        if self.architecture not in _SCRIPTED:
            raise OptionError(
                f"MatGL {version('matgl')} exports {' and '.join(_SCRIPTED)} to LAMMPS, not {self.architecture}",
                allowed=["--to native", "--to ase"],
            )
        return LammpsFile(
            name="matgl-lammps.pt",
            style="matgl",
            build="LAMMPS with the package ML-MATGL, as lammps/ in github.com/materialyzeai/matgl has it; one MPI rank",
            commands=("atom_modify     map yes",),
            write=self._write_torchscript,
            evaluate=self._as_pair_matgl,
        )

    def _plain(self) -> Any:
        """Return a copy of the vendor's potential on the CPU. Table and arguments have the references that it carries.

        The vendor's loader puts tensors where they lay: a file written from a GPU would open there in part.
        """
        plain: Any = copy.deepcopy(self.module).cpu()
        plain.element_refs.property_offset.copy_(self.carried_references[torch.tensor(self._elements) - 1])
        plain._init_args["element_refs"] = plain.element_refs.property_offset.detach().clone()
        return plain

    def _write_torchscript(self, path: Path) -> None:
        """As MatGL's `mgl create-lammps-model` does."""
        from matgl.ext.lammps import LAMMPSMatGLModel

        with whole(path) as part, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 of torch.jit
            try:
                torch.jit.script(LAMMPSMatGLModel(self._plain(), self._dtype)).save(part)
            except NotImplementedError as error:
                raise OptionError(f"MatGL cannot export this {self.architecture}: {error}") from error

    def _as_pair_matgl(self, path: Path, atoms: Atoms) -> dict[str, Array]:
        """As pair_matgl.cpp: own atoms alone, neighbours by the cell that they stand in."""
        centre, neighbour, cells = neighbor_list("ijS", atoms, float(self.card.cutoff_A or 0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script = torch.jit.load(path)
        out = script(
            self._tensor(atoms.positions),
            torch.tensor(np.stack([centre, neighbour])),
            torch.tensor(cells, dtype=torch.int64),
            self._tensor(atoms.cell.array),
            torch.tensor(atoms.numbers, dtype=torch.int64),
            torch.ones(len(atoms), dtype=torch.bool),
            True,
        )
        found = {name: tensor.detach().numpy() for name, tensor in out.items()}
        return {
            "energy": found["total_energy_local"],
            "forces": found["forces"],
            "stress": found["virials"] / atoms.get_volume(),
        }

    @property
    def head(self) -> nn.Module:
        """The readout: (N, width) atom features -> (N, 1) eV."""
        module: Any = self.module
        return ScaledReadout(module.model.final_layer, module.data_std.reshape(()))  # of no dimension: on any device

    @property
    def references(self) -> Tensor:
        """(118,) eV an atom, by atomic number, float64; the vendor's stand in the order of its list of elements."""
        module: Any = self.module
        return module.references

    def stages(self) -> list[Stage]:
        """Return embedding, interaction-1 and on, readout."""
        module: Any = self.module
        paths = NETWORKS[self.architecture].stages(module.model)
        return [
            Stage(name, {f"model.{path}": module.model.get_submodule(path) for path in parts})
            for name, parts in paths.items()
        ]

    # ---------------------------------------------------------------- graphs

    def encode(self, sample: Sample) -> Encoded:
        """List the bonds within the cutoff, by the routine of the vendor's converter."""
        atoms: Atoms = sample.content
        self._refuse(sample)
        cutoff = float(self.card.cutoff_A or 0)
        cell = box(atoms, cutoff, sample.where).vectors
        centre, neighbour, images = find_bonds(atoms, cutoff)
        bonds = atoms.positions[neighbour] + images @ cell - atoms.positions[centre]
        arrays = {
            "numbers": atoms.numbers.astype(np.int64),
            "species": self._species[atoms.numbers],
            "positions": atoms.positions,
            "origin": atoms.positions,
            "bond": bonds,
            "centre": centre,
            "neighbour": neighbour,
            "volume": np.array([volume(atoms)]),
        }
        arrays |= self._short_bonds(centre, neighbour, images, bonds)
        n_edges = len(centre) + len(arrays.get("pair_sender", ()))
        return Encoded(len(atoms), n_edges, {name: self._tensor(array) for name, array in arrays.items()})

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Join graphs, raising indices by what stands before."""
        return join(encoded, _RAISED_BY)

    def features(self, batch: Batch) -> Tensor:
        """Return (N, width): what enters the readout."""
        vectors = bond_vectors(batch)
        bonds = Bonds(batch["species"], batch["centre"], batch["neighbour"], vectors, vectors.norm(dim=1))
        return NETWORKS[self.architecture].features(self.module.model, bonds, batch)

    @property
    def _dtype(self) -> torch.dtype:
        module: Any = self.module
        return module.data_std.dtype

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, dtype=self._dtype if array.dtype.kind == "f" else torch.int64)

    def _short_bonds(
        self, centre: Array, neighbour: Array, images: Array, bonds: Array
    ) -> dict[str, NDArray[np.int64] | Array]:
        """Bonds that take part in angles, and for CHGNet their pairs."""
        network = NETWORKS[self.architecture]
        module: Any = self.module
        if not network.short_cutoff:
            return {}
        cutoff = module.model._init_args[network.short_cutoff]
        short = np.flatnonzero(np.linalg.norm(bonds, axis=1) <= cutoff)
        if not network.angles:
            return {"short_bond": short}
        sender, receiver = pair_bonds(centre[short], neighbour[short], images[short])
        return {"short_bond": short, "pair_sender": sender, "pair_receiver": receiver}

    def _refuse(self, sample: Sample) -> None:
        self.require_sense(sample)
        unknown = sorted({chemical_symbols[Z] for Z in sample.content.numbers if self._species[Z] < 0})
        if unknown:
            raise DataError(f"{self.card.name} does not know {', '.join(unknown)}", where=sample.where)


def folder_hash(folder: Path) -> str:
    """SHA-256 over the bytes of the vendor's three files."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _vendor_potential(folder: Path) -> tuple[VendorPotential, str]:
    """Build the potential of a folder, its weights untrained; return it, and a note on its version."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(f"no MatGL model: {', '.join(missing)} missing", where=str(folder), allowed=FILES)
    try:
        header = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"not readable as JSON ({error})", where=str(folder / FILES[0])) from error
    with torch.serialization.safe_globals([(_reconstruct, "numpy.core.multiarray._reconstruct")]):
        arguments = load_tensors(folder / "model.pt")
    described = arguments.pop("model", None)
    inner = described if isinstance(described, dict) else {}
    what = inner.get("@class")
    if not isinstance(header, dict) or header.get("@class") != "Potential" or what not in _CLASSES:
        found = header.get("@class") if isinstance(header, dict) else header
        raise DataError(
            f"holds a {found} of {what}, not a potential that can be tuned{_NO_SUM.get(str(what), '') and ': '}"
            f"{_NO_SUM.get(str(what), '')}",
            where=str(folder),
            allowed=[f"Potential of {name}" for name in _CLASSES],
        )
    plain = {"use_warp": False} if what == "TensorNet" else {}  # kernels of another package name the weights otherwise
    try:
        network = _CLASSES[what](**{**inner["init_args"], **plain})
    except Exception as error:  # arguments are a stranger's: whatever the constructor makes of them
        raise DataError(f"{what} cannot be built from its arguments ({error})", where=str(folder)) from error
    vendor: Any = network
    for name in plain:
        vendor._init_args.pop(name)
    written, present = inner.get("@model_version", 0), getattr(_CLASSES[what], "__version__", 0)
    # The vendor warns and goes on: version 2 of TensorNet sums messages at the other end of a bond than version 1.
    older = f" (written for version {written} of {what}, evaluated as version {present})" if written < present else ""
    # A tuned model is to give all three quantities in the vendor's calculator too.
    arguments |= {"calc_forces": True, "calc_stresses": True, "compile_model": False, "debug_mode": False}
    make: Any = VendorPotential  # what else it takes is named by the file
    return make(model=network, **arguments), older


def _precision(state: Mapping[str, object]) -> torch.dtype:
    floats = (
        t.dtype for n, t in state.items() if n.startswith("model.") and isinstance(t, Tensor) and t.is_floating_point()
    )
    return next(floats, torch.float32)


def _load_state(module: nn.Module, state: Mapping[str, object], folder: Path) -> None:
    """Load every parameter. Buffers that the constructor makes may lack, and caches of older releases be left over."""
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise DataError(
            f"weights do not fit the model ({str(error).splitlines()[-1].strip()})", where=str(folder)
        ) from error
    wanted = {name for name, _ in module.named_parameters()} | {"data_std", _REFERENCES}
    wrong = [name for name in result.missing_keys if name in wanted]
    wrong += [name for name in result.unexpected_keys if not name.endswith(".onehot")]
    if wrong:
        raise DataError(f"weights do not fit the model: {', '.join(wrong[:5])}", where=str(folder))


def _written_references(module: Any, folder: Path, state: Mapping[str, Any]) -> Tensor | None:
    """Return the references (n_elements,) of a folder in the vendor's order; None where it has none."""
    header = json.loads((folder / FILES[0]).read_text(encoding="utf-8"))
    written = (header.get("metadata") or {}).get(_METADATA)
    if not isinstance(written, dict):
        return state.get(_REFERENCES)
    return torch.tensor([float(written[symbol]) for symbol in module.model.element_types], dtype=torch.float64)


def _add_references(module: Any, elements: Sequence[int], references: Tensor | None) -> None:
    """Register reference energies by atomic number in float64, outside the vendor's state."""
    if module.element_refs is None:
        module.element_refs = AtomRef(torch.zeros(len(elements), dtype=module.data_std.dtype))
    own = module.element_refs.property_offset if references is None else references
    by_number = own.new_zeros(len(chemical_symbols) - 1, dtype=torch.float64)
    by_number[torch.tensor(elements) - 1] = own.double()
    module.register_buffer("references", by_number, persistent=False)


def _refuse_what_does_not_fit(module: Any) -> None:
    """Refuse what is no sum over atoms of a readout of their features."""
    kind, arguments = type(module.model).__name__, module.model._init_args
    wanted = NETWORKS[kind].arguments
    other = [f"{name}={arguments[name]}" for name, value in wanted.items() if arguments.get(name, value) != value]
    if arguments.get("activation_type") == "softexp":
        other.append("activation_type=softexp (one parameter in all stages)")
    if float(module.data_mean) != 0:
        other.append(f"data_mean={float(module.data_mean):g} (an energy a frame, whatever its size)")
    other += [f"{name}=True" for name in ("calc_repuls", "calc_charge") if getattr(module, name)]
    if module.element_refs is not None and module.element_refs.property_offset.ndim != 1:
        other.append("references for several states")
    if other:
        raise OptionError(
            f"this {kind} was built with {', '.join(other)}", allowed=[f"{kind} as an extensive potential"]
        )
