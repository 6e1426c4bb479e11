"""RuNNer's and n2p2's input.data: units assumed and told, set by the user, faults with frame and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.read import read

FRAME = """begin
comment source_file_name=OUTCAR_4_1
lattice 10.0 0.0 0.0
lattice 1.0 11.0 0.0
lattice 0.0 2.0 12.0
atom 1.0 2.0 3.0 Cu 0.0 0.0 0.1 -0.2 0.3
atom 4.0 5.0 6.0 S  0.0 0.0 -0.1 0.2 -0.3
energy -1.5
charge 1.000000
end
"""
CELL = np.array([[10.0, 0.0, 0.0], [1.0, 11.0, 0.0], [0.0, 2.0, 12.0]])
MOLECULE = "".join(line + "\n" for line in FRAME.splitlines() if not line.startswith("lattice"))


def test_bohr_and_hartree_are_assumed_and_told(tmp_path: Path) -> None:
    (tmp_path / "anything.gz").write_bytes(gzip.compress((FRAME + MOLECULE).encode()))
    data = read(tmp_path / "anything.gz")
    assert len(data) == 2
    assert data[0].labels["energy"] == pytest.approx(-1.5 * Hartree)
    np.testing.assert_allclose(data[0].labels["forces"][0], np.array([0.1, -0.2, 0.3]) * Hartree / Bohr)
    np.testing.assert_allclose(data[0].content.cell[:], CELL * Bohr)
    np.testing.assert_allclose(data[0].content.positions[1], np.array([4.0, 5.0, 6.0]) * Bohr)
    assert data[0].content.get_chemical_symbols() == ["Cu", "S"]
    assert data[0].content.pbc.all()
    assert not data[1].content.pbc.any()
    assert data[0].tags["charge"] == "1"
    assert any("states no units: Bohr, Hartree" in note for note in data.provenance.notes)
    assert data.provenance.files[0].fixed == ()


def test_the_options_that_the_note_names_set_the_units(tmp_path: Path) -> None:
    (tmp_path / "input.data").write_text(FRAME)
    data = read(tmp_path / "input.data", units={"length": "Å", "energy": "eV", "forces": "eV/Å"})
    assert data[0].labels["energy"] == pytest.approx(-1.5)
    np.testing.assert_allclose(data[0].labels["forces"][0], [0.1, -0.2, 0.3])
    np.testing.assert_allclose(data[0].content.cell[:], CELL)


def test_a_folder_gives_its_frames_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/input.data").write_text(FRAME + MOLECULE)
    (tmp_path / "a/train.data").write_text(FRAME)  # n2p2 writes these from the first
    (tmp_path / "a/test.data").write_text(MOLECULE)
    (tmp_path / "b/Cu2S.data").write_text("# made by hand\n" + FRAME)
    (tmp_path / "b/Cu2S.yaml").write_text("functional: PBE\n")
    data = read(tmp_path)
    assert [file.name for file in data.provenance.files] == ["a/input.data", "b/Cu2S.data"]
    assert data[2].theory is not None
    assert data[2].theory.functional == "PBE"
    assert "trajectory" not in data[0].tags


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FRAME + FRAME.removesuffix("end\n"), "frame 1: the file ends in the middle"),
        (FRAME.replace("atom 4.0", "atom four"), "frame 0: line 7 cannot be read"),
        (FRAME.replace("atom 4.0 5.0 6.0 S", "atom 4.0 5.0 6.0 Qq"), "frame 0: line 7 cannot be read"),
        (FRAME.replace("lattice 0.0 2.0 12.0\n", ""), "2 lattice vectors"),
        (FRAME.replace("energy -1.5", "energie -1.5"), "'energie' is not a word of input.data"),
        (FRAME + "energy 3\n", "'energy' stands outside a frame"),
    ],
)
def test_faults_are_named_with_frame_and_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "input.data").write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "input.data")


def test_real_files(shared: Path) -> None:
    water = read(shared / "data/real/other/n2p2/input.data")
    np.testing.assert_allclose(water[0].content.cell.lengths(), 10.0, atol=1e-5)
    np.testing.assert_allclose(water[0].content.positions[0], [1.0, 0.0, 0.0], atol=1e-5)
    assert water[0].labels["energy"] == pytest.approx(1.2, abs=1e-4)
    np.testing.assert_allclose(water[0].labels["forces"][2], [0.5, 0.0, 1.5], atol=1e-4)
    frames = read(shared / "data/cases/frames/n01_Cu2S.input.data")
    assert len(frames) > 1
    assert frames[0].content.cell.lengths()[0] == pytest.approx(15.415349658 * Bohr)
