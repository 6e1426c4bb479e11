"""Planted outcomes, and the verdict each must get."""

import json

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.files import write_json
from matgraft.core.findings import Finding
from matgraft.core.quantities import Quantity, voigt_to_full
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.metrics import summarise
from matgraft.potentials.scoring.verdict import Verdict, verdict

ALL = ("energy", "forces", "stress")
SHIFT = 5.0  # eV/atom between the foundation and the labels


def planted(
    n_frames=60, n_groups=15, part="test", labels=ALL, config_types=("AIMD",), seed=0, independent=False, **factors
):
    """Summarise a tuned model whose errors are the foundation's, times a factor for each quantity.

    The foundation's energies are off by `SHIFT` an atom besides; shift takes that away. With `independent` the tuned
    model's errors are drawn anew.
    """
    rng = np.random.default_rng(seed)
    samples, models = [], {"tuned": [], "untuned": [], "shift": []}
    for i in range(n_frames):
        noise, other = (
            {"energy": rng.normal(), "forces": rng.normal(size=(8, 3)), "stress": voigt_to_full(rng.normal(size=6))}
            for _ in range(2)
        )
        truth = {"energy": np.array(-40.0), "forces": rng.normal(size=(8, 3)), "stress": np.eye(3)}
        tags = {"trajectory": f"run-{i % n_groups}", "config_type": config_types[i % len(config_types)]}
        samples.append(Sample(Atoms("Si8"), {name: truth[name] for name in labels}, tags))
        shifted = {name: truth[name] + noise[name] for name in ALL}
        own = other if independent else noise
        models["tuned"].append({name: truth[name] + factors.get(name, 1.0) * own[name] for name in ALL})
        models["shift"].append(shifted)
        models["untuned"].append({**shifted, "energy": shifted["energy"] + 8 * SHIFT})
    dataset = Dataset(tuple(samples))
    return summarise(dataset, models, dataset.tag("trajectory"), part=part)


def test_a_better_model_is_called_better_with_its_figures():
    summary = planted(energy=0.2, forces=0.5, stress=0.6)
    found = verdict(summary)
    assert found.level == "better than the foundation"
    assert found.headline.startswith("Better than the foundation. RMSE on 60 test frames of 15 trajectories: energy ")
    assert f"{summary['shift']['energy_rmse_meV_per_atom']:.0f} meV/atom" in found.headline
    assert len(found.reasons_for) == 3
    assert "the foundation with shifted reference energies has" in found.reasons_for[0]
    assert "Ratio 0.50 to the stronger (95 % interval 0.50 to 0.50)" in found.reasons_for[1]
    assert (found.reasons_against, found.cautions, found.do_not_trust_for) == ((), (), ())


def test_the_same_verdict_from_metrics_json():
    summary = planted(energy=0.2, forces=1.5)
    assert verdict(json.loads(json.dumps(summary))) == verdict(summary)
    assert Verdict.model_validate_json(verdict(summary).model_dump_json()) == verdict(summary)


def test_a_worse_model_is_called_worse_and_not_to_be_trusted():
    found = verdict(planted(energy=1.5, forces=2.0, stress=3.0))
    assert found.level == "worse"
    assert found.headline.startswith("Worse than the foundation: worse in energy, forces and stress.")
    assert found.reasons_for == ()
    assert [use.split(" (")[1] for use in found.do_not_trust_for[:3]] == [f"{name} became worse)" for name in ALL]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ALL), st.floats(1.05, 30))
def test_worse_in_any_quantity_is_never_better(name, factor):
    found = verdict(planted(**{"energy": 0.2, "forces": 0.3, "stress": 0.3, name: factor}))
    assert found.level == "mixed"
    assert f"worse in {name}" in found.headline
    assert any(use.endswith(f"({name} became worse)") for use in found.do_not_trust_for)


def test_taking_off_the_energy_offset_alone_is_no_gain():
    summary = planted()
    assert summary["gain"]["untuned"]["energy_rmse_meV_per_atom"]["beyond_chance"]
    found = verdict(summary)
    assert found.level == "no better"
    assert found.headline.startswith("No better than the foundation: no difference beyond chance in energy, forces")


def test_independent_errors_of_the_same_size_are_no_gain():
    levels = [verdict(planted(independent=True, seed=seed)).level for seed in range(10)]
    assert "better than the foundation" not in levels
    assert levels.count("no better") >= 6  # three 95 % intervals: one in seven errs by chance


def test_better_energies_without_better_forces_are_mixed():
    found = verdict(planted(energy=0.1))
    assert found.level == "mixed"
    assert "better in energy; no difference beyond chance in forces and stress" in found.headline
    assert any(reason.startswith("Forces: no difference beyond chance") for reason in found.reasons_against)


def test_undecided_stress_does_not_spoil_a_better_model_but_is_named():
    found = verdict(planted(energy=0.1, forces=0.3))
    assert found.level == "better than the foundation"
    assert found.reasons_against[0].startswith("Stress: no difference beyond chance")


def test_unlabelled_and_untrained_stress_is_not_to_be_trusted():
    unlabelled = verdict(planted(energy=0.1, forces=0.3, labels=("energy", "forces")))
    assert unlabelled.level == "better than the foundation"
    assert unlabelled.do_not_trust_for == (
        "pressures, relaxation of the cell, elastic constants (no stress labels to score by)",
    )
    untrained = verdict(planted(energy=0.1, forces=0.3, stress=0.5), trained=["energy", "forces"])
    assert untrained.do_not_trust_for == (
        "pressures, relaxation of the cell, elastic constants (stress was not trained)",
    )


@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_few_trajectories_are_undecided_and_that_is_the_first_thing_said(n_groups):
    found = verdict(planted(n_groups=n_groups, energy=0.1, forces=0.3, stress=3.0))
    assert found.level == "undecided"
    assert found.headline.startswith("Undecided: too few trajectories to judge energy, forces and stress.")
    named = f"{n_groups} {'trajectory' if n_groups == 1 else 'trajectories'}"
    assert found.cautions[0].startswith(f"Labels of the test frames: energy in {named}, forces in {named}, stress in")
    assert found.headline.endswith(found.cautions[0])
    assert f"({named} with energy labels, 5 are needed)" in found.reasons_against[0]
    enough = verdict(planted(n_groups=5, energy=0.1, forces=0.3, stress=0.3))
    assert enough.level == "better than the foundation" and enough.cautions == ()


def test_a_single_frame_decides_nothing():
    found = verdict(planted(n_frames=1, energy=0.01, forces=0.01, stress=0.01))
    assert found.level == "undecided"
    assert "1 test frame of 1 trajectory" in found.headline


@pytest.mark.parametrize("carried", [2, 4, 5])
def test_stress_in_few_of_many_trajectories_is_undecided(carried):
    rng = np.random.default_rng(0)
    samples, models = [], {"tuned": [], "untuned": []}
    for i in range(48):
        forces, stress = rng.normal(size=(8, 3)), voigt_to_full(rng.normal(size=6))
        labels = {"forces": np.zeros((8, 3))} | ({"stress": np.zeros((3, 3))} if i % 8 < carried else {})
        samples.append(Sample(Atoms("Si8"), labels, {"trajectory": f"run-{i % 8}"}))
        models["tuned"].append({"forces": 0.5 * forces, "stress": 2 * stress})
        models["untuned"].append({"forces": forces, "stress": stress})
    dataset = Dataset(tuple(samples))
    summary = summarise(dataset, models, dataset.tag("trajectory"))
    assert summary["n_groups_with"] == {"forces": 8, "stress": carried}
    found = verdict(summary)
    assert found.level == ("better than the foundation" if carried < 5 else "mixed")
    said = next(reason for reason in found.reasons_against if reason.startswith("Stress"))
    assert said.startswith("Stress: too few trajectories to judge" if carried < 5 else "Stress: worse")


def test_shared_trajectories_and_a_validation_part_stand_in_the_headline():
    leak = "3 trajectories are in training and in test: the errors are optimistic."
    found = verdict(planted(energy=0.1, forces=0.3, stress=0.3, part="validation"), split_warnings=[leak])
    assert found.level == "better than the foundation"
    assert found.headline.endswith(leak)
    assert found.cautions[0] == leak
    assert found.cautions[1].startswith("There is no test part.")


def test_findings_become_cautions_and_coverage_a_limit():
    findings = [
        Finding(code="net-force", title="Net force", outcome="failed", severity="warning", evidence="2 frames drift."),
        Finding(code="mixed-theory", title="Mixed theory", outcome="failed", severity="error", evidence="Two meshes."),
        Finding(code="duplicates", title="Duplicates", outcome="passed", severity="warning"),
    ]
    missing = ["no frame has a surface: do not trust surface energies"]
    found = verdict(planted(energy=0.1, forces=0.3, stress=0.3), findings, coverage_missing=missing)
    assert found.cautions == ("Mixed theory [mixed-theory]: Two meshes.", "Net force [net-force]: 2 frames drift.")
    assert found.headline.endswith("Two meshes.")
    assert found.do_not_trust_for == ("surface energies (no frame has a surface)",)


def test_a_small_gain_is_called_small():
    found = verdict(planted(energy=0.95, forces=0.3, stress=0.3))
    assert found.level == "better than the foundation"
    assert found.cautions == ("The gain in energy is beyond chance but small (ratio 0.95).",)


def test_a_config_type_that_lost_is_named():
    summary = planted(energy=0.3, forces=0.5, stress=0.5, config_types=("AIMD", "Surface"))
    summary["by_config_type"]["test"]["Surface"]["forces_rmse_eV_per_A"] = 7.5
    found = verdict(summary)
    assert any(
        reason.startswith("Worse on config_type 'Surface' (30 frames): forces 7.5 instead of ")
        for reason in found.reasons_against
    )
    assert found.do_not_trust_for == ("structures of config_type 'Surface' (forces became worse)",)


@pytest.mark.parametrize(
    ("tenth", "message"), [(0.9, "of the squared error"), (1.1, "no better than the foundation's")]
)
def test_a_bad_worst_decile_is_named(tenth, message):
    summary = planted(energy=0.3, forces=0.3, stress=0.3)
    rival = summary["worst_force_decile"]["shift"]["forces_rmse_eV_per_A"]
    summary["worst_force_decile"]["test"]["forces_rmse_eV_per_A"] = tenth * rival
    found = verdict(summary)
    assert any(message in reason for reason in found.reasons_against)
    assert found.do_not_trust_for == ("strongly distorted or hot structures (see the atoms with the largest forces)",)


def test_a_diverged_model_is_worse():
    found = verdict(planted(energy=0.1, forces=np.inf, stress=0.1))
    assert found.level == "worse"
    assert "not finite in forces" in found.headline
    assert "molecular dynamics, relaxation, phonons (forces is not finite)" in found.do_not_trust_for


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_the_verdict_on_a_diverged_model_is_the_same_from_its_file(bad, tmp_path):
    summary = planted(energy=0.1, forces=bad, stress=0.1)
    write_json(tmp_path / "metrics.json", summary)
    text = (tmp_path / "metrics.json").read_text()
    read = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read["test"]["forces_rmse_eV_per_A"] == str(float(bad))
    assert verdict(read) == verdict(summary)
    assert verdict(read).level == "worse"


def test_a_foundation_that_diverged_is_no_rival():
    summary = planted(energy=0.1, forces=0.3, stress=0.3)
    for name in ("untuned", "shift"):
        summary[name]["energy_rmse_meV_per_atom"] = np.nan
        summary["gain"][name]["energy_rmse_meV_per_atom"]["interval"] = None
    found = verdict(summary)
    assert found.level == "mixed"
    assert "no finite figure to hold it against in energy" in found.headline


def test_a_model_that_is_perfect_on_all_groups_but_one_has_a_rival():
    """Without that group the logarithm of its error is infinite, so that there is no interval."""
    samples = [Sample(Atoms("Si"), {"energy": np.array(0.0)}) for _ in range(12)]
    models = {
        "tuned": [{"energy": np.array(0.1 * (i < 2))} for i in range(12)],
        "untuned": [{"energy": np.array(0.2)}] * 12,
    }
    found = verdict(summarise(Dataset(tuple(samples)), models, [str(i // 2) for i in range(12)]))
    assert found.headline.startswith("No better than the foundation: too few trajectories to judge energy.")


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        ("test", "label frames of further simulations, and give them as --test FILE."),
        ("validation", "label frames of further simulations, and give them as --test FILE."),
        ("unseen", "add labelled frames of further simulations to the file."),
    ],
)
def test_an_undecided_verdict_says_what_to_do(part, advice):
    found = verdict(planted(n_groups=3, part=part, energy=0.1))
    assert found.level == "undecided" and found.headline.startswith("Undecided: too few trajectories to judge energy")
    assert any(caution.endswith(advice) for caution in found.cautions)


def test_without_a_baseline_nothing_is_claimed():
    dataset = Dataset(tuple(Sample(Atoms("Si"), {"energy": np.array(0.0)}) for _ in range(8)))
    found = verdict(summarise(dataset, {"tuned": [{"energy": np.array(0.1)}] * 8}, [str(i) for i in range(8)]))
    assert found.level == "not compared"
    assert found.reasons_for == ()
    assert "there is no baseline" in found.reasons_against[0]


def test_a_target_of_formulas_gets_its_verdict():
    gap = {"gap": Quantity("gap", "sample", (), "eV", "eV")}
    rng = np.random.default_rng(0)
    dataset = Dataset(tuple(Sample("Si", {"gap": np.array(rng.normal())}) for _ in range(40)))
    noise = rng.normal(size=40)
    models = {
        name: [{"gap": s.labels["gap"] + factor * e} for s, e in zip(dataset, noise, strict=True)]
        for name, factor in (("tuned", 0.4), ("untuned", 1.0))
    }
    found = verdict(summarise(dataset, models, [str(i) for i in range(40)], quantities=gap), quantities=gap)
    assert found.level == "better than the foundation"
    assert found.reasons_for[0].startswith("Gap: better. RMSE ")
