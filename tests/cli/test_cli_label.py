"""`matgraft label`: what it says, what it writes, and with which exit code it leaves."""

import json

import pytest
from ase.build import bulk
from ase.io import read, write

ENGINE = "calculator: emt\ntheory: {code: ASE, functional: EMT, energy: free}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.yaml").write_text(ENGINE)
    frames = [bulk("Cu", a=a) for a in (3.5, 3.6)]
    write("pool.extxyz", frames)
    write("mixed.extxyz", [*frames, bulk("Si")])
    return tmp_path


def test_labels_and_failures_are_told(matgraft, folder):
    words = ("label", "pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz")
    code, said, _ = matgraft(*words)
    assert code == 0 and "2 of 2 frames have a label by emt" in said and "EMT, ASE, free energy" in said
    assert len(read("out.extxyz", ":")) == 2 and (folder / "out.yaml").exists()
    code, said, _ = matgraft("label", "mixed.extxyz", "--engine", "engine.yaml", "-o", "more.extxyz")
    assert code == 1 and "mixed.extxyz frame 2: NotImplementedError" in said and "2 tries" in said
    assert "2 of them were in the store labels" in said
    code, said, _ = matgraft("label", "mixed.extxyz", "--engine", "engine.yaml", "-o", "more.extxyz", "--json")
    facts = json.loads(said)
    assert code == 1 and facts["n_computed"] == 0 and facts["failures"][0]["before"] is True
    code, said, _ = matgraft("label", "mixed.extxyz", "--engine", "engine.yaml", "-o", "more.extxyz")
    assert "--retry-failed" in said


def test_the_probe_measures_noise_with_any_calculator(matgraft, folder):
    code, said, _ = matgraft("label", "pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz", "--probe", "--json")
    (moved,) = json.loads(said)["probe"]["moved"]
    assert code == 0 and moved["setting"] == "shift" and abs(moved["energy_meV_per_atom"]) < 1e-6
    assert moved["beyond"] == [] and moved["forces_eV_per_A"] < 1e-9
    code, said, _ = matgraft("label", "pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz", "--probe")
    assert "Convergence and noise, measured on frame 0 (Cu)" in said


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("none.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz"), 3, "no such file"),
        (("pool.extxyz", "--engine", "none.yaml", "-o", "out.extxyz"), 3, "no such"),
        (("pool.extxyz", "--engine", "bad.yaml", "-o", "out.extxyz"), 2, "did you mean 'calculator'"),
        (("pool.extxyz", "--engine", "engine.yaml", "-o", "pool.extxyz"), 2, "written over"),
        (("pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz", "--store", "engine.yaml"), 2, "is a file"),
        (("pool.extxyz", "--engine", "engine.yaml", "-o", "out.extxyz", "--like", "other.extxyz"), 3, "functional"),
        (("pool.extxyz", "--engine", "engine.yaml", "-o", "kept.extxyz", "--like", "kept.extxyz"), 2, "written over"),
        (("pool.extxyz", "--engine", "engine.yaml"), 2, "out"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_runs(matgraft, folder, words, code, told):
    (folder / "bad.yaml").write_text("calculater: emt\n")
    write("other.extxyz", [bulk("Cu")])
    kept = bulk("Cu")
    kept.info["label_key"] = "0"
    write("kept.extxyz", kept)
    (folder / "other.yaml").write_text("code: ASE\nfunctional: PBE\n")
    found, _, said = matgraft("label", *words)
    assert found == code and told in said
    assert not (folder / "labels").exists() and not (folder / "out.extxyz").exists()
