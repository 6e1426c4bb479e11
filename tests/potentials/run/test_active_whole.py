"""The loop with everything real: a foundation that walks, labels by an engine, a fit, a gate, and the next round."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read as read_frames
from ase.io import write as write_frames

from matgraft.core.registry import model_folder
from matgraft.potentials.active.rounds import LABELLED, SELECTED, round_folder, rounds_in
from matgraft.potentials.active.settings import ActiveRecipe
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.report.active import write_active_report
from matgraft.potentials.run.active import active
from matgraft.potentials.run_files import PROVENANCE


@pytest.mark.slow
def test_a_foundation_learns_copper_from_nothing_but_a_structure(tmp_path: Path) -> None:
    structure, one_worker, out = tmp_path / "cu.cif", tmp_path / "here.yaml", tmp_path / "loop"
    write_frames(structure, bulk("Cu", cubic=True))
    one_worker.write_text("provider: local\nworkers: 1\n")
    recipe = ActiveRecipe.model_validate(
        {
            "start": str(structure),
            "tune": {
                "foundation": "chgnet",
                "strategy": {"name": "feature"},
                "fit": {"epochs": 3, "processes": 1},
                "forgetting": {"size": 8},
            },
            "sample": {
                "md": "nvt",
                "temperature": "900",
                "walkers": 5,
                "steps": 30,
                "spacing_fs": 10,
                "atoms": 4,
                "gate": 3,
            },
            "select": {"gap": 5, "audit": 0.25, "per_walker": 2, "low": 0.0, "high": 1e6},
            "engine": {"calculator": "emt"},
            "executor": str(one_worker),
            "stop": {"forces_eV_per_A": 1e-6, "gain": 0},
            "per_round": 6,
            "rounds": 2,
        }
    )
    ended = active(recipe, out, quiet=True)
    assert (ended.reason, ended.rounds, ended.converged) == ("rounds", 2, False)
    first, second = rounds_in(out)
    assert first.outside is None and second.outside is not None  # the tuned model has a gate
    assert first.dft_frames == first.labelled > 0 and second.dft_frames > first.dft_frames
    assert second.part == "test" and second.fresh is not None and second.before is not None
    for number in (0, 1):
        folder = round_folder(out, number)
        chosen, labelled = SELECTED.read(folder).chosen, LABELLED.read(folder)
        assert labelled.n_labelled == len(chosen) and labelled.failures == ()
        learned, scored = (read_frames(folder / f"{name}.extxyz", index=":") for name in ("learn", "audit"))
        assert len(learned) + len(scored) == len(chosen)
        assert not {one.info["trajectory"] for one in learned} & {one.info["trajectory"] for one in scored}
    last = round_folder(out, 1) / "run"
    sources = PROVENANCE.read(last)
    assert [Path(one.name).name for one in sources.files] == ["learn.extxyz", "learn.extxyz"]
    whole = read([*(round_folder(out, k) / "learn.extxyz" for k in (0, 1))])
    assert len(whole) == second.n_learn and whole.count("energy") == whole.count("forces") == len(whole)
    model = load_potential(last)
    assert model_folder(out) == last / "model" and load_potential(out).card == model.card  # the loop's is its last one
    assert Uncertainty.find(model_folder(last), model.card) is not None
    page = write_active_report(out).read_text()
    assert "md nvt 900 K" in page and "not converged" in page
    again = active(recipe, out, resume=True, quiet=True)
    assert again == ended
