"""Nequix: the conformance suite on a small model with random weights, its files, the vendor's numbers, adaptation."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from matgraft.core.errors import DataError, MatgraftError
from matgraft.core.files import whole
from matgraft.core.model_files import recognise
from matgraft.core.provenance import file_hash
from matgraft.core.registry import save_folder
from matgraft.foundations import load, load_folder
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import export, verify_export
from matgraft.potentials.models import published
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.convolution import Neighbours
from matgraft.potentials.models.nequix.configuration import NequixConfiguration
from matgraft.potentials.models.nequix.network import NequixNetwork
from matgraft.potentials.models.nequix.potential import NequixPotential
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.published import NEQUIX
from matgraft.potentials.models.references import read_added_references
from matgraft.testing import PotentialConformance, crystals

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models" / "nequix"
REFERENCE = Path(__file__).with_name("nequix_reference.json")
"""What nequix 0.4.5 (JAX) gives: the small model of these tests and the published ones on `crystals`."""
VENDOR = importlib.util.find_spec("nequix") is not None
ELEMENTS = {8: -3.1, 12: -1.2, 14: -5.4, 32: -4.5, 42: -10.9}
SMALL: dict[str, Any] = {
    "atomic_numbers": list(ELEMENTS),
    "atom_energies": {str(Z): energy for Z, energy in ELEMENTS.items()},
    "cutoff": 4.0,
    "hidden_irreps": "8x0e + 4x1o + 3x2e",
    "lmax": 2,
    "n_layers": 3,
    "radial_basis_size": 5,
    "radial_mlp_size": 8,
    "radial_mlp_layers": 2,
    "radial_polynomial_p": 6.0,
    "mlp_init_scale": 4.0,
    "index_weights": False,
    "layer_norm": True,
    "scale": 20.0,
    "shift": -0.3,
    "avg_n_neighbors": 12.0,
    "learning_rate": 0.003,
}


def small(**changes: Any) -> NequixPotential:
    """A network with seeded random weights, of the sizes that the vendor draws them in."""
    made_of = NequixConfiguration.model_validate(SMALL | changes)
    network, random = NequixNetwork(made_of), np.random.default_rng(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            drawn = random.standard_normal(weight.shape)
            if "radial_mlp" in name:
                drawn *= (4 / weight.shape[0]) ** 0.5
            weight.copy_(torch.tensor(1 + 0.1 * drawn if "layer_norm" in name else drawn))
        network.references[torch.tensor(list(ELEMENTS)) - 1] = torch.tensor(list(ELEMENTS.values())).double()
    return NequixPotential(network, made_of, name="small")


class Reopened(NequixPotential):
    """Stands in for the vendor's calculator where its package is not installed: the written file, opened anew."""

    def vendor_calculator(self, path: Path) -> Calculator:
        opened = NequixPotential.from_file(path)
        for symbol, energy in read_added_references(path.parent).items():  # which the vendor's loader does not see
            opened.references[atomic_numbers[symbol] - 1] -= energy
        return PotentialCalculator(opened)


class TestNequix(PotentialConformance):
    """Scalars, vectors and tensors, with norms; the file is held against itself."""

    @classmethod
    def make(cls) -> Potential:
        found = small()
        return Reopened(found.module, found.configuration, name="small")


# ------------------------------------------------------------- the vendor's numbers


PLAIN = {"hidden_irreps": "6x0e+3x1o", "lmax": 3, "layer_norm": False, "radial_mlp_layers": 1, "n_layers": 2}


@pytest.mark.parametrize("number", range(12))
def test_energies_forces_and_stresses_are_the_vendors(number: int) -> None:
    row = json.loads(REFERENCE.read_text())[number]
    if row["model"] in ("small", "plain"):
        model = small(**(PLAIN if row["model"] == "plain" else {}))
    elif (file := MODELS / f"{row['model']}.nqx").is_file():
        model = NequixPotential.from_file(file)
    else:
        pytest.skip("needs ../shared, which lies beside the project's own checkout only")
    atoms = Atoms(row["symbols"], row["positions"], cell=row["cell"], pbc=True)
    (found,) = predict_samples(model, [Sample(atoms, {})], ("energy", "forces", "stress"))
    assert float(found["energy"]) == pytest.approx(row["energy"], abs=4e-5 * len(atoms))
    np.testing.assert_allclose(found["forces"], row["forces"], rtol=1e-5, atol=3e-5)
    np.testing.assert_allclose(full_3x3_to_voigt_6_stress(found["stress"]), row["stress"], rtol=1e-5, atol=5e-6)


def test_the_models_of_these_tests_pull_as_hard_as_real_ones() -> None:
    predicted = predict_samples(small(), [Sample(atoms, {}) for atoms in crystals()])
    assert all(0.1 < np.abs(one["forces"]).max() < 30 for one in predicted)


@pytest.mark.skipif(not VENDOR, reason="needs the package nequix, which brings JAX along")
def test_the_vendors_calculator_opens_what_is_written(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / model.native_file)
    assert max(verify_export(model, tmp_path).values()) < 1e-3


@pytest.mark.skipif(VENDOR, reason="the package nequix is installed")
@pytest.mark.parametrize("target", ["native", "ase"])
def test_without_the_vendors_package_an_export_is_opened_again_and_says_what_was_not_verified(
    tmp_path: Path, target: str
) -> None:
    save_folder(small(), tmp_path / "run")
    found = export(tmp_path / "run", target, tmp_path / "out")
    assert not found.verified and "the package 'nequix' is not installed" in found.reason
    assert "opened again by matgraft" in found.checks[0].what and max(found.difference.values()) == 0
    assert (tmp_path / "out" / "nequix.nqx").is_file()
    assert (target == "ase") == (tmp_path / "out" / "calculator.py").is_file()


def test_a_correction_begins_at_zero_and_its_file_says_so(tmp_path: Path) -> None:
    model = small()
    model.silence()
    model.save(tmp_path / "silent.nqx")
    (found,) = predict_samples(
        NequixPotential.from_file(tmp_path / "silent.nqx"), [Sample(crystals()[0], {})], ("energy",)
    )
    assert float(found["energy"]) == 0


# -------------------------------------------------------------------------- the network


def test_gradients_of_the_network_are_those_of_finite_differences() -> None:
    model = small(**PLAIN)
    model.module.double()
    batch = model.collate([model.encode(Sample(crystals()[0], {}))])
    double = {name: one.double() if one.is_floating_point() else one for name, one in batch.tensors.items()}
    moved = replace(batch, tensors=double)

    def energy(positions: Tensor, strain: Tensor) -> Tensor:
        return model.features(moved.having(positions=positions, strain=strain)).sum()

    inputs = double["positions"].clone().requires_grad_(True), double["strain"].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(energy, inputs)
    assert torch.autograd.gradgradcheck(energy, inputs)


def test_atoms_with_few_and_with_many_neighbours_in_one_batch() -> None:
    """A place for each of the most neighbours would be mostly empty: edges are summed one by one, to the same."""
    model = small()
    frames = [crystals()[1] * (2, 2, 2), *[Atoms("O", cell=np.eye(3) * 20.0, pbc=True)] * 120]
    samples = [Sample(atoms, {}) for atoms in frames]
    batch = model.collate([model.encode(sample) for sample in samples])
    assert Neighbours.of(batch["centre"], len(batch["numbers"])) is None
    together = predict_samples(model, samples, ("energy", "forces"))
    for sample, one in zip(samples[:2], together[:2], strict=True):
        (alone,) = predict_samples(model, [sample], ("energy", "forces"))
        np.testing.assert_allclose(one["energy"], alone["energy"], atol=1e-3)
        np.testing.assert_allclose(one["forces"], alone["forces"], atol=1e-4)
    assert np.abs(together[1]["forces"]).max() == 0


# ------------------------------------------------------------------------------- files


@pytest.fixture
def written(tmp_path: Path) -> Path:
    model = small()
    model.save(tmp_path / "my.nqx")
    return tmp_path / "my.nqx"


def test_a_file_is_known_by_its_content_and_opens_by_name(written: Path) -> None:
    assert recognise(written).name == f"nequix:{written}"
    model = load(f"nequix:{written}")
    assert isinstance(model, NequixPotential)
    assert (model.card.name, model.card.licence, model.card.vendor_version) == ("my.nqx", "MIT", "0.4.5")
    assert model.card.elements == ("O", "Mg", "Si", "Ge", "Mo") and model.card.theory.describe() == "not stated"
    for name, tensor in small().module.state_dict().items():
        torch.testing.assert_close(model.module.state_dict()[name], tensor, rtol=0, atol=0)


def test_what_was_written_is_written_again_to_the_byte(written: Path, tmp_path: Path) -> None:
    NequixPotential.from_file(written).save(tmp_path / "again.nqx")
    assert (tmp_path / "again.nqx").read_bytes() == written.read_bytes()
    assert json.loads(written.read_bytes().splitlines()[0])["learning_rate"] == SMALL["learning_rate"]


def test_a_model_folder_keeps_reference_energies_in_float64(tmp_path: Path) -> None:
    model = small()
    model.references[13] = -7123.123456789
    save_folder(model, tmp_path / "model")
    opened = load_folder(tmp_path / "model")
    assert isinstance(opened, NequixPotential)
    torch.testing.assert_close(opened.references, model.references, rtol=0, atol=0)
    assert read_added_references(tmp_path / "model")["Si"] == -7123.123456789  # which float32 does not resolve


def test_arrays_that_follow_the_weights_are_left_alone(written: Path) -> None:
    """One published file has its configuration once more behind them, another a line break."""
    with whole(written) as part:
        part.write_bytes(written.read_bytes() + b"\n")
    assert NequixPotential.from_file(written).card.n_parameters == small().card.n_parameters


def changed(**values: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        line, _, rest = content.partition(b"\n")
        kept = {name: value for name, value in (json.loads(line) | values).items() if value is not None}
        return json.dumps(kept).encode() + b"\n" + rest

    return change


def with_nan(content: bytes) -> bytes:
    return content[:-4] + np.array([np.nan], "<f4").tobytes()


def of_pickled_objects(content: bytes) -> bytes:
    return content.partition(b"\n")[0] + b"\n" + content.partition(b"\n")[2].replace(b"'<f4'", b"'|O' ", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-1], "ends within array 37"),
        (lambda content: content[: len(content) // 2], "ends too early"),
        (lambda content: content.partition(b"\n")[0], "ends too early"),
        (lambda content: content[:40], "begins with a line of JSON"),
        (lambda content: b"", "an empty file"),
        (lambda content: b"<!DOCTYPE html><html>", "a web page"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "Git LFS pointer"),
        (lambda content: b"PK\x03\x04" + content, "begins with a line of JSON"),
        (lambda content: b"[" * 100_000 + b"\n", "begins with a line of JSON"),
        (lambda content: b"[1, 2]\n" + content, "describes no network"),
        (with_nan, "not finite"),
        (of_pickled_objects, "array 1 of its weights"),
        (changed(index_weights=True), "index_weights"),
        (changed(hidden_irreps="8x0e+4x1e"), "another parity"),
        (changed(hidden_irreps="8x0e+4x3o"), "directions of 2 at most"),
        (changed(hidden_irreps="4x1o"), "no scalars"),
        (changed(hidden_irreps="1x0e+0x1o"), "no scalars"),
        (changed(hidden_irreps="80000x0e"), "hidden_irreps"),
        (changed(hidden_irreps="9x0e + 4x1o + 3x2e"), "array"),
        (changed(hidden_irreps="4096x0e", n_layers=64), "ends too early"),
        (changed(lmax=7), "lmax"),
        (changed(cutoff=0), "cutoff"),
        (changed(scale="NaN"), "scale"),
        (changed(n_layers=1e9), "n_layers"),
        (changed(atomic_numbers=[14, 8, 12, 32, 42]), "atomic numbers that do not rise"),
        (changed(atomic_numbers=[8, 12, 14, 32, 142]), "atomic_numbers"),
        (changed(atom_energies={"8": 1.0}), "no reference energy of 12, 14, 32"),
        (changed(layer_norm=None), "layer_norm: Field required"),
    ],
)
def test_a_file_that_is_no_whole_nequix_is_refused(written: Path, change: Callable[[bytes], bytes], said: str) -> None:
    content = change(written.read_bytes())
    other = written.with_name("other.nqx")
    other.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        NequixPotential.from_file(other)
    assert caught.value.exit_code == 3 and caught.value.where == str(other)
    with pytest.raises(MatgraftError):
        load(f"nequix:{other}")


def test_a_first_line_without_end_is_read_to_the_limit_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATGRAFT_LIMITS", "line_bytes=1K")
    (tmp_path / "long.nqx").write_bytes(b'{"a": "' + b"a" * 5000)
    with pytest.raises(DataError, match="line_bytes"):
        NequixPotential.from_file(tmp_path / "long.nqx")


def test_a_foundation_that_is_not_here_says_how_it_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(published, "NEQUIX_CACHE", tmp_path)
    for name, (address, sha256) in NEQUIX.items():
        with pytest.raises(DataError, match=r"nothing is fetched unasked") as error:
            load(f"nequix:{name}")
        assert error.value.commands == (("matgraft", "fetch", f"nequix:{name}"),)
        wanted = published.published(f"nequix:{name}")
        assert (wanted.address, wanted.sha256, wanted.file) == (address, sha256, tmp_path / f"{name}.nqx")


def test_a_file_of_the_cache_is_the_published_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(published, "NEQUIX_CACHE", tmp_path)
    small().save(tmp_path / "nequix-mp-1.nqx")
    with pytest.raises(DataError, match="it is not the published nequix:nequix-mp-1"):
        load("nequix:nequix-mp-1")
    digest = file_hash(tmp_path / "nequix-mp-1.nqx")
    monkeypatch.setitem(NEQUIX, "nequix-mp-1", ("https://example.invalid/a.nqx", digest))
    assert load("nequix:nequix-mp-1").card.weights_from == "https://example.invalid/a.nqx"


@pytest.mark.parametrize("name", NEQUIX)
def test_the_hashes_are_those_of_the_files(shared: Path, name: str) -> None:
    assert file_hash(shared / f"models/nequix/{name}.nqx") == NEQUIX[name][1]


def test_published_files_have_their_name_and_level_of_theory(shared: Path) -> None:
    model = load(f"nequix:{shared / 'models/nequix/nequix-omat-1.nqx'}")
    assert (model.card.name, model.card.n_parameters, len(model.card.elements)) == ("nequix:nequix-omat-1", 707_569, 89)
    assert (model.card.theory.functional, model.card.theory.correction) == ("PBE", "none")


def test_elements_that_it_does_not_know_are_named() -> None:
    with pytest.raises(DataError, match="does not know Fe, Xe"):
        small().encode(Sample(Atoms("FeXe", [[0, 0, 0], [0, 0, 2]]), {}))
