"""Planted outcomes, and the verdict each must get."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.findings import Finding
from matgraft.core.quantities import voigt_to_full
from matgraft.core.verdict import Caution, Damage, Outcome, Use, Verdict
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.run_files import METRICS, VERDICT
from matgraft.potentials.scoring.judged import three_figures
from matgraft.potentials.scoring.scores import Change, Scores, changes, summarise
from matgraft.potentials.scoring.verdict import verdict

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


def said(found: Verdict, side: str) -> list[str]:
    return [reason.text for reason in found.speaking(side)]


def cautions(found: Verdict) -> list[tuple[str, Damage]]:
    return [(caution.code, caution.damage) for caution in found.cautions]


def test_a_better_model_is_called_better_with_its_figures():
    summary = planted(energy=0.2, forces=0.5, stress=0.6)
    found = verdict(summary)
    assert found.level == "better than the foundation"
    assert found.headline.startswith("Better than the foundation. RMSE on 60 test frames of 15 trajectories: energy ")
    assert f"{summary.shift['energy_rmse_meV_per_atom']:.0f} meV/atom" in found.headline
    energy, forces, _ = said(found, "for")
    assert "the foundation with shifted reference energies has" in energy
    assert "Ratio 0.50 to the stronger (95 % interval 0.50 to 0.50)" in forces
    assert (said(found, "against"), found.cautions, found.not_fit_for) == ([], (), ())
    assert [use.use.split(",")[0] for use in found.fit_for] == [
        "energy differences: formation", "molecular dynamics", "pressures"
    ]  # fmt: skip


def test_the_same_verdict_from_the_files(tmp_path):
    scores = planted(energy=0.2, forces=1.5)
    METRICS.write(tmp_path, scores)
    assert METRICS.read(tmp_path) == scores
    VERDICT.write(tmp_path, verdict(scores))
    assert VERDICT.read(tmp_path) == verdict(scores)


def test_a_worse_model_is_called_worse_and_not_to_be_trusted():
    found = verdict(planted(energy=1.5, forces=2.0, stress=3.0))
    assert found.outcome is Outcome.WORSE
    assert found.headline.startswith("Worse than the foundation: worse in energy, forces and stress.")
    assert said(found, "for") == [] and found.fit_for == () and found.exit_code == 6
    assert [use.reason for use in found.not_fit_for[:3]] == [f"{name} became worse" for name in ALL]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ALL), st.floats(1.05, 30))
def test_worse_in_any_quantity_is_never_better(name, factor):
    found = verdict(planted(**{"energy": 0.2, "forces": 0.3, "stress": 0.3, name: factor}))
    assert found.level == "mixed"
    assert f"worse in {name}" in found.headline
    assert f"{name} became worse" in [use.reason for use in found.not_fit_for]


def test_taking_off_the_energy_offset_alone_is_no_gain():
    summary = planted()
    assert summary.gain["untuned"]["energy_rmse_meV_per_atom"].beyond_chance
    found = verdict(summary)
    assert found.outcome is Outcome.NO_BETTER
    assert found.headline.startswith("No better than the foundation: no difference beyond chance in energy, forces")


def test_independent_errors_of_the_same_size_are_no_gain():
    outcomes = [verdict(planted(independent=True, seed=seed)).outcome for seed in range(10)]
    assert Outcome.BETTER not in outcomes
    assert outcomes.count(Outcome.NO_BETTER) >= 6  # three 95 % intervals: one in seven errs by chance


def test_better_energies_without_better_forces_are_mixed():
    found = verdict(planted(energy=0.1))
    assert found.level == "mixed"
    assert "better in energy; no difference beyond chance in forces and stress" in found.headline
    assert any(reason.startswith("Forces: no difference beyond chance") for reason in said(found, "neither"))


def test_undecided_stress_does_not_spoil_a_better_model_but_is_named():
    found = verdict(planted(energy=0.1, forces=0.3))
    assert found.level == "better than the foundation"
    assert said(found, "neither")[0].startswith("Stress: no difference beyond chance") and not said(found, "against")


def test_unlabelled_and_untrained_stress_is_not_to_be_trusted():
    unlabelled = verdict(planted(energy=0.1, forces=0.3, labels=("energy", "forces")))
    assert unlabelled.level == "better than the foundation"
    pressures = "pressures, relaxation of the cell, elastic constants"
    assert unlabelled.not_fit_for == (Use(use=pressures, reason="no stress labels to score by"),)
    untrained = verdict(planted(energy=0.1, forces=0.3, stress=0.5), trained=["energy", "forces"])
    assert untrained.not_fit_for == (Use(use=pressures, reason="no stress in the loss"),)


@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_few_trajectories_are_undecided_and_that_is_the_first_thing_said(n_groups):
    found = verdict(planted(n_groups=n_groups, energy=0.1, forces=0.3, stress=3.0))
    assert found.level == "undecided"
    assert found.headline.startswith("Undecided: too few trajectories to judge energy, forces and stress.")
    named = f"{n_groups} {'trajectory' if n_groups == 1 else 'trajectories'}"
    assert found.first == found.cautions[0]
    assert found.first.text.startswith(f"Labels of the test frames: energy in {named}, forces in {named}, stress in")
    assert f"({named} with energy labels, 5 are needed)" in said(found, "neither")[0]
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
    assert summary.n_groups_with == {"forces": 8, "stress": carried}
    found = verdict(summary)
    assert found.level == ("better than the foundation" if carried < 5 else "mixed")
    side = "neither" if carried < 5 else "against"
    stress = next(reason for reason in said(found, side) if reason.startswith("Stress"))
    assert stress.startswith("Stress: too few trajectories to judge" if carried < 5 else "Stress: worse")


LEAK = Caution(code="shared-trajectories", damage=Damage.WRONG, text="3 trajectories are in training and in test.")
SHARES = Caution(code="split-shares", damage=Damage.NOTE, text="asked for 80 / 10 / 10 %, got 79 / 11 / 10")
FORGOT = Finding(code="forgetting", title="Change", outcome="failed", severity="warning", evidence="615 meV/atom.")


def test_the_gravest_caution_comes_first():
    scores = planted(n_groups=4, part="validation", energy=0.1, forces=0.3, stress=0.3)
    found = verdict(scores, cautions=[SHARES, LEAK], checks=[FORGOT])
    assert cautions(found) == [
        ("shared-trajectories", Damage.WRONG),
        ("forgetting", Damage.HARM),
        ("no-test", Damage.DOUBT),
        ("few-groups", Damage.DOUBT),
        ("split-shares", Damage.NOTE),
    ]
    assert found.first == LEAK and found.outcome is Outcome.UNDECIDED and LEAK.text not in found.headline
    assert verdict(planted(energy=0.1, forces=0.3, stress=0.3), cautions=[SHARES]).first is None


def test_findings_become_cautions_and_coverage_a_limit():
    findings = [
        Finding(code="net-force", title="Net force", outcome="failed", severity="warning", evidence="2 frames drift."),
        Finding(code="mixed-theory", title="Mixed theory", outcome="failed", severity="error", evidence="Two meshes."),
        Finding(code="duplicates", title="Duplicates", outcome="passed", severity="warning"),
    ]
    missing = [Use(use="surface energies", reason="no frame has a surface")]
    found = verdict(planted(energy=0.1, forces=0.3, stress=0.3), audit=findings, missing=missing)
    assert found.outcome is Outcome.BETTER
    assert cautions(found) == [("mixed-theory", Damage.WRONG), ("net-force", Damage.NOTE)]
    assert found.first and found.first.text == "Mixed theory: Two meshes."
    assert found.not_fit_for == tuple(missing)


def after(scores: Scores, **changed: tuple[float, float]) -> Scores:
    validation = tuple(Change(quantity=q, unit="u", before=a, after=b) for q, (a, b) in changed.items())
    return scores.model_copy(update={"validation": validation})


@pytest.mark.parametrize("bad", [0.26, np.nan])
def test_a_model_that_lost_something_is_better_with_reservations(bad):
    scores = planted(energy=0.1, forces=0.3, stress=0.3)
    forgot = verdict(scores, checks=[FORGOT])
    assert (forgot.level, forgot.tone) == ("better on the test, with reservations", "caution")
    assert forgot.headline.startswith("Better on the test, with reservations. RMSE on 60 test frames")
    assert forgot.first and (forgot.first.code, forgot.exit_code) == ("forgetting", 0)
    worsened = verdict(after(scores, energy=(9.0, 2.0), forces=(0.25, bad)))
    assert worsened.outcome is Outcome.RESERVED and worsened.first
    assert worsened.first.code == "validation-worsened" and worsened.first.damage is Damage.HARM
    assert f"forces {bad:g} instead of 0.25 u" in worsened.first.text and "energy" not in worsened.first.text
    dynamics = Use(use="molecular dynamics, relaxation, phonons", reason="its error rose on the validation frames")
    assert dynamics.use not in [use.use for use in worsened.fit_for]
    assert worsened.not_fit_for == (dynamics,)
    rounding = after(scores, energy=(9.0, 9.0), forces=(0.25, 0.2502))
    passed = FORGOT.model_copy(update={"outcome": "passed"})
    assert verdict(rounding, checks=[passed]).outcome is Outcome.BETTER


def test_a_loss_makes_no_worse_model_any_better():
    found = verdict(planted(energy=0.2, forces=2.0), checks=[FORGOT])
    assert found.outcome is Outcome.MIXED and found.first and found.first.code == "forgetting"


def test_reservations_where_every_type_or_every_quantity_that_was_tested_is_distrusted():
    scores = planted(energy=0.3, forces=0.5, stress=0.5, config_types=("AIMD", "Surface"))
    tables = scores.by_config_type["test"]
    tables["Surface"]["forces_rmse_eV_per_A"] = 7.5
    assert verdict(scores).outcome is Outcome.BETTER
    tables["AIMD"]["stress_rmse_GPa"] = 1e4
    found = verdict(scores)
    assert found.outcome is Outcome.RESERVED
    assert found.first and found.first.text.startswith("Every config type that was tested")
    untrained = verdict(planted(energy=0.3, forces=0.5, stress=0.5), trained=())
    assert untrained.outcome is Outcome.RESERVED
    assert untrained.first and untrained.first.text.startswith("Every quantity that was tested")


def test_the_errors_on_validation_frames_before_and_after():
    frames = Dataset(tuple(Sample(Atoms("Si2"), {"energy": np.array(0.0)}) for _ in range(3)))
    (found,) = changes(frames, [{"energy": np.array(0.2)}] * 3, [{"energy": np.array(0.4)}] * 3)
    assert (found.quantity, found.unit, found.worsened) == ("energy", "meV/atom", True)
    assert (found.before, found.after) == pytest.approx((100, 200))


def test_a_small_gain_is_called_small():
    found = verdict(planted(energy=0.95, forces=0.3, stress=0.3))
    assert found.level == "better than the foundation"
    (caution,) = found.cautions
    assert caution.text == "The gain in energy is beyond chance but small (ratio 0.95)." and found.first is None


def test_a_config_type_that_lost_is_named():
    summary = planted(energy=0.3, forces=0.5, stress=0.5, config_types=("AIMD", "Surface"))
    summary.by_config_type["test"]["Surface"]["forces_rmse_eV_per_A"] = 7.5
    found = verdict(summary)
    assert any(
        reason.startswith("Worse on config_type 'Surface' (30 frames): forces 7.5 instead of ")
        for reason in said(found, "against")
    )
    assert found.not_fit_for == (Use(use="structures of config_type 'Surface'", reason="forces became worse"),)


@pytest.mark.parametrize(
    ("tenth", "message"), [(0.9, "of the squared error"), (1.1, "no better than the foundation's")]
)
def test_a_bad_worst_decile_is_named(tenth, message):
    summary = planted(energy=0.3, forces=0.3, stress=0.3)
    rival = summary.worst_force_decile["shift"]["forces_rmse_eV_per_A"]
    summary.worst_force_decile["test"]["forces_rmse_eV_per_A"] = tenth * rival
    found = verdict(summary)
    assert any(message in reason for reason in said(found, "against"))
    assert [use.use for use in found.not_fit_for] == ["strongly distorted or hot structures"]


def test_a_diverged_model_is_worse():
    found = verdict(planted(energy=0.1, forces=np.inf, stress=0.1))
    assert found.outcome is Outcome.WORSE
    assert "not finite in forces" in found.headline
    dynamics = Use(use="molecular dynamics, relaxation, phonons", reason="no finite prediction of forces")
    assert dynamics in found.not_fit_for
    assert found.first and (found.first.code, found.first.damage) == ("not-finite", Damage.WRONG)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_the_verdict_on_a_diverged_model_is_the_same_from_its_file(bad, tmp_path):
    scores = planted(energy=0.1, forces=bad, stress=0.1)
    METRICS.write(tmp_path, scores)
    assert f'"forces_rmse_eV_per_A": "{float(bad)}"' in (tmp_path / METRICS.name).read_text()
    assert verdict(METRICS.read(tmp_path)) == verdict(scores)
    assert verdict(scores).outcome is Outcome.WORSE


def test_a_foundation_that_diverged_is_no_rival():
    summary = planted(energy=0.1, forces=0.3, stress=0.3)
    key = "energy_rmse_meV_per_atom"
    for name in ("untuned", "shift"):
        summary.of(name)[key] = np.nan
        summary.gain[name][key] = replace(summary.gain[name][key], interval=None)
    found = verdict(summary)
    assert found.level == "mixed"
    assert "no finite value to compare it with in energy" in found.headline


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
        ("test", "label frames of further simulations, and give them as --test FILE"),
        ("validation", "label frames of further simulations, and give them as --test FILE"),
        ("unseen", "add labelled frames of further simulations to the file"),
    ],
)
def test_an_undecided_verdict_says_what_to_do(part, advice):
    found = verdict(planted(n_groups=3, part=part, energy=0.1))
    assert found.level == "undecided" and found.headline.startswith("Undecided: too few trajectories to judge energy")
    assert advice in [caution.remedy for caution in found.cautions]


def test_without_a_baseline_nothing_is_claimed():
    dataset = Dataset(tuple(Sample(Atoms("Si"), {"energy": np.array(0.0)}) for _ in range(8)))
    found = verdict(summarise(dataset, {"tuned": [{"energy": np.array(0.1)}] * 8}, [str(i) for i in range(8)]))
    assert found.level == "not compared"
    assert said(found, "for") == []
    assert "there is no baseline" in said(found, "neither")[0]


def scaled(scores, keys, factor):
    """The same scores with all figures of some quantities times a factor."""

    def by(figures):
        return {key: value * factor if key.startswith(keys) else value for key, value in figures.items()}

    models = {"test": by(scores.test), "untuned": by(scores.untuned), "shift": by(scores.shift)}
    types = {model: {kind: by(row) for kind, row in table.items()} for model, table in scores.by_config_type.items()}
    tenths = {model: by(figures) for model, figures in scores.worst_force_decile.items()}
    return scores.model_copy(update={**models, "by_config_type": types, "worst_force_decile": tenths})


def test_forces_that_are_zero_by_symmetry_judge_nobody():
    """Both models give 1e-6 eV/Å on perfect crystals, and which of them gives more is chance."""
    clear = planted(energy=0.2, forces=3.0, labels=("energy", "forces"), config_types=("bulk", "eos"))
    found, rounded = verdict(clear), verdict(scaled(clear, "forces", 1e-6))
    assert "worse in forces" in found.headline and any(use.use.endswith("'eos'") for use in found.not_fit_for)
    assert "Mixed: better in energy; no difference beyond chance in forces" in rounded.headline
    assert [reason.about for reason in rounded.reasons if reason.about in ("energy", "forces")] == ["energy", "forces"]
    assert not any("config_type" in use.use or "forces became" in use.reason for use in rounded.not_fit_for)


@pytest.mark.parametrize(
    ("quantity", "before", "after", "worsened"),
    [("forces", 1e-6, 3e-6, False), ("forces", 1e-6, 3e-4, True), ("forces", 0.1, 0.10005, False),
     ("forces", 0.1, 0.11, True), ("energy", 0.0, 1e-3, False), ("stress", 1e-4, 9e-4, False),
     ("stress", 0.1, np.nan, True), ("stress", np.nan, 0.1, False)],
)  # fmt: skip
def test_an_error_on_validation_rises_beyond_rounding_or_not(quantity, before, after, worsened):
    assert Change(quantity=quantity, unit="", before=before, after=after).worsened is worsened


def test_a_config_type_whose_errors_are_not_finite_is_named():
    scores = planted(energy=0.2, forces=0.3, stress=0.3, config_types=("bulk", "slab"))
    table = scores.by_config_type
    slab = {key: np.nan if key.startswith("forces") else value for key, value in table["test"]["slab"].items()}
    scores = scores.model_copy(update={"by_config_type": {**table, "test": {**table["test"], "slab": slab}}})
    assert "structures of config_type 'slab'" in [use.use for use in verdict(scores).not_fit_for]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2228288.4, "2,228,288"),
        (12345.6, "12,346"),
        (1234.5, "1234"),
        (99.96, "100"),
        (0.01234, "0.0123"),
        (3e12, "3e+12"),
    ],
)
def test_three_figures_have_no_exponent_where_it_can_be_read(value: float, text: str) -> None:
    assert three_figures(value) == text
