"""Errors by hand, masks, invariances, intervals and paired comparisons."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import Quantity
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.comparison import compare
from matgraft.potentials.scoring.frame_errors import errors
from matgraft.potentials.scoring.metrics import by_tag, count_units, intervals, metrics, worst_decile
from matgraft.potentials.scoring.scores import Scores, summarise

SYMMETRIC = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])


def frame(n_atoms, trajectory="", config_type="", **labels):
    tags = {"trajectory": trajectory, "config_type": config_type}
    return Sample(Atoms(f"Si{n_atoms}"), labels, {key: value for key, value in tags.items() if value})


def random_frames(n_frames, seed=0, n_groups=6):
    rng = np.random.default_rng(seed)
    return Dataset(
        tuple(
            frame(
                size := int(rng.integers(1, 6)),
                trajectory=f"run-{i % n_groups}",
                energy=np.asarray(rng.normal()),
                forces=rng.normal(size=(size, 3)),
                stress=rng.normal() * SYMMETRIC,
            )
            for i in range(n_frames)
        )
    )


def off(dataset, scale=1.0, seed=1):
    """Predict the labels with errors drawn once from the seed, times `scale`."""
    rng = np.random.default_rng(seed)
    return [
        {
            "energy": sample.labels["energy"] + scale * rng.normal(),
            "forces": sample.labels["forces"] + scale * rng.normal(size=(sample.n_atoms, 3)),
            "stress": sample.labels["stress"] + scale * rng.normal() * SYMMETRIC,
        }
        for sample in dataset
    ]


def test_every_metric_by_hand():
    dataset = Dataset(
        (
            frame(2, energy=np.array(-4.0), forces=np.zeros((2, 3)), stress=np.zeros((3, 3))),
            frame(1, energy=np.array(-3.0), forces=np.zeros((1, 3))),
        )
    )
    predictions = [
        {
            "energy": np.array(-4.2),
            "forces": np.array([[3.0, 0, 0], [0, 0, 0]]),
            "stress": SYMMETRIC * units.GPa,
        },
        {"energy": np.array(-2.7), "forces": np.array([[0, -4.0, 0]]), "stress": SYMMETRIC},
    ]
    found = metrics(errors(dataset, predictions))
    assert list(found) == [
        "energy_rmse_meV_per_atom",
        "energy_mae_meV_per_atom",
        "forces_rmse_eV_per_A",
        "forces_mae_eV_per_A",
        "stress_rmse_GPa",
        "stress_mae_GPa",
        "n_frames",
        "n_atoms",
    ]
    assert found["energy_rmse_meV_per_atom"] == pytest.approx(np.sqrt((100**2 + 300**2) / 2))
    assert found["energy_mae_meV_per_atom"] == pytest.approx(200)
    assert found["forces_rmse_eV_per_A"] == pytest.approx(np.sqrt((9 + 16) / 9))
    assert found["forces_mae_eV_per_A"] == pytest.approx(7 / 9)
    # Six components, each once: the full matrix would give sqrt((14 + 2 * 77) / 9) = 4.32 instead.
    assert found["stress_rmse_GPa"] == pytest.approx(np.sqrt((1 + 4 + 9 + 16 + 25 + 36) / 6))
    assert found["stress_mae_GPa"] == pytest.approx(21 / 6)
    assert (found["n_frames"], found["n_atoms"]) == (2, 3)


def test_components_that_are_no_label_are_not_counted():
    in_plane = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=bool)
    sample = replace(frame(2, stress=SYMMETRIC), components={"stress": in_plane})
    predicted = SYMMETRIC + np.array([[0.1, 0.2, 9], [0.2, 0.3, 9], [9, 9, 9]])
    found = metrics(errors(Dataset((sample,)), [{"stress": predicted}]))
    assert found["stress_mae_GPa"] == pytest.approx(0.2 / units.GPa)


def test_absent_labels_and_predictions_are_masked_and_an_unlabelled_quantity_is_absent():
    dataset = Dataset((frame(1, energy=np.array(0.0)), frame(1), frame(1, energy=np.array(0.0))))
    predictions = [{"energy": np.array(0.002), "forces": np.ones((1, 3))}, {"energy": np.array(9.0)}, {}]
    assert metrics(errors(dataset, predictions)) == {
        "energy_rmse_meV_per_atom": pytest.approx(2.0),
        "energy_mae_meV_per_atom": pytest.approx(2.0),
        "n_frames": 3,
        "n_atoms": 3,
    }


def test_a_regression_target_of_formulas_needs_no_atoms():
    gap = {"gap": Quantity("gap", "sample", (), "eV", "eV")}
    dataset = Dataset((Sample(object(), {"gap": np.array(1.0)}), Sample(object(), {"gap": np.array(2.0)})))
    found = metrics(errors(dataset, [{"gap": np.array(1.5)}, {"gap": np.array(2.0)}], gap))
    assert found == {"gap_rmse_eV": pytest.approx(np.sqrt(0.125)), "gap_mae_eV": 0.25, "n_frames": 2}


@pytest.mark.parametrize(
    ("labels", "prediction", "message"),
    [
        ({"forces": np.zeros((2, 3))}, {"forces": np.zeros((1, 3))}, r"label \(2, 3\), prediction \(1, 3\)"),
        ({"energy": np.array(np.nan)}, {"energy": np.array(0.0)}, "energy label is not finite"),
    ],
)
def test_what_cannot_be_compared_is_an_error_that_names_the_frame(labels, prediction, message):
    sample = Sample(Atoms("Si2"), labels, file="a.extxyz", index=7)
    with pytest.raises(DataError, match=message) as caught:
        errors(Dataset((sample,)), [prediction])
    assert caught.value.where == "a.extxyz frame 7"


def test_numbers_of_frames_must_agree():
    dataset = random_frames(3)
    with pytest.raises(DataError, match="2 predictions for 3 frames"):
        errors(dataset, off(dataset)[:2])
    with pytest.raises(DataError, match="2 groups for 3 frames"):
        intervals(errors(dataset, off(dataset)), ["a", "b"])
    with pytest.raises(DataError, match="no frames"):
        errors(dataset[:0], [])


def test_a_diverged_model_is_seen():
    dataset = random_frames(12)
    predictions = off(dataset)
    predictions[3]["forces"] = np.full_like(predictions[3]["forces"], np.inf)
    found = errors(dataset, predictions)
    assert metrics(found)["forces_rmse_eV_per_A"] == np.inf
    assert np.isfinite(metrics(found)["energy_rmse_meV_per_atom"])
    assert "forces_rmse_eV_per_A" not in intervals(found, dataset.tag("trajectory"))
    assert "energy_rmse_meV_per_atom" in intervals(found, dataset.tag("trajectory"))
    comparison = compare(found, errors(dataset, off(dataset)), dataset.tag("trajectory"))["forces_rmse_eV_per_A"]
    assert (comparison.ratio, comparison.interval, comparison.beyond_chance) == (np.inf, None, False)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(14)), st.integers(0, 1000))
def test_the_order_of_frames_does_not_matter(order, seed):
    dataset, groups = random_frames(14, seed), random_frames(14, seed).tag("trajectory")
    predictions = off(dataset)
    one = summarise(dataset, {"tuned": predictions, "untuned": off(dataset, 2.0)}, groups)
    shuffled = [[rows[i] for i in order] for rows in (predictions, off(dataset, 2.0), groups)]
    two = summarise(dataset[order], {"tuned": shuffled[0], "untuned": shuffled[1]}, shuffled[2])
    for figures in (lambda x: x.test, lambda x: x.untuned, lambda x: x.worst_force_decile["test"]):
        assert figures(one) == pytest.approx(figures(two))
    for key, ends in one.intervals["test"].items():
        assert ends == pytest.approx(two.intervals["test"][key])
        assert one.gain["untuned"][key].interval == pytest.approx(two.gain["untuned"][key].interval)


@settings(max_examples=25, deadline=None)
@given(st.floats(-50, 50), st.floats(0.01, 100))
def test_shifting_both_changes_nothing_and_scaling_errors_scales_metrics(shift, scale):
    dataset = random_frames(8)
    plain, larger = metrics(errors(dataset, off(dataset))), metrics(errors(dataset, off(dataset, scale)))
    moved = dataset.map(lambda s: s.with_labels(**{name: value + shift for name, value in s.labels.items()}))
    moved_predictions = [{name: value + shift for name, value in each.items()} for each in off(dataset)]
    assert metrics(errors(moved, moved_predictions)) == pytest.approx(plain)
    for key in plain:
        assert larger[key] == pytest.approx(plain[key] * (1 if key.startswith("n_") else scale))


def test_by_tag_gathers_frames_and_names_the_unstated():
    dataset = Dataset(
        tuple(frame(1, config_type=kind, energy=np.array(0.0)) for kind in ("Surface", "", "Surface", "Vacancy"))
    )
    found = errors(dataset, [{"energy": np.array(e)} for e in (0.001, 0.009, 0.007, 0.002)])
    tables = by_tag(found, dataset.tag("config_type"))
    assert {name: table["energy_mae_meV_per_atom"] for name, table in tables.items()} == {
        "Surface": pytest.approx(4.0),
        "Vacancy": pytest.approx(2.0),
        "not stated": pytest.approx(9.0),
    }
    assert tables["Surface"]["n_frames"] == 2
    assert by_tag(found, [""] * 4) == {}


def test_the_worst_decile_takes_a_tenth_of_the_atoms_by_reference_force():
    forces = np.zeros((19, 3))
    forces[4, 1] = 10.0
    dataset = Dataset((frame(19, forces=forces), frame(1, forces=np.array([[0, 0, -5.0]])), frame(2)))
    predictions = [{"forces": forces + 1.0}, {"forces": np.array([[2.0, 0, -5.0]])}, {"forces": np.ones((2, 3))}]
    assert worst_decile(dataset, predictions) == {
        "forces_rmse_eV_per_A": pytest.approx(np.sqrt((3 * 1 + 4) / 6)),
        "forces_mae_eV_per_A": pytest.approx(5 / 6),
        "n_frames": 2,
        "n_atoms": 2,
    }
    assert worst_decile(dataset, [{}, {}, {}]) == {}
    assert worst_decile(dataset[2:], predictions[2:]) == {}


def test_atoms_tied_at_the_border_are_all_taken():
    dataset = Dataset((frame(20, forces=np.ones((20, 3))),))
    assert worst_decile(dataset, [{"forces": np.zeros((20, 3))}])["n_atoms"] == 20


def test_intervals_over_trajectories_are_wider_when_frames_resemble_each_other():
    rng = np.random.default_rng(3)
    offsets = np.repeat(np.exp(rng.normal(size=10)), 30)
    dataset = Dataset(tuple(frame(1, trajectory=f"run-{i // 30}", energy=np.array(0.0)) for i in range(300)))
    found = errors(dataset, [{"energy": np.array(e)} for e in offsets])
    key = "energy_rmse_meV_per_atom"
    by_group = intervals(found, dataset.tag("trajectory"))[key]
    by_frame = intervals(found, [f"alone-{i}" for i in range(300)])[key]
    assert by_group[0] < metrics(found)[key] < by_group[1]
    assert by_group[1] - by_group[0] > 2 * (by_frame[1] - by_frame[0])


@pytest.mark.parametrize("n_groups", [1, 2, 4])
def test_fewer_than_five_groups_decide_nothing_however_many_frames(n_groups):
    dataset = random_frames(40, n_groups=n_groups)
    found, groups = errors(dataset, off(dataset, 0.1)), dataset.tag("trajectory")
    assert intervals(found, groups) == {}
    comparison = compare(found, errors(dataset, off(dataset)), groups)["energy_rmse_meV_per_atom"]
    assert comparison.ratio == pytest.approx(0.1)
    assert (comparison.interval, comparison.difference_interval, comparison.beyond_chance) == (None, None, False)


def test_groups_without_the_label_do_not_count_for_the_quantity():
    """Stress in 4 of 12 trajectories is undecided, in 5 it is not; energies are in all 12."""
    for carried in (4, 5):
        dataset = Dataset(
            tuple(
                frame(1, energy=np.array(0.0), **({"stress": np.zeros((3, 3))} if i < carried else {}))
                for i in range(12)
            )
        )
        predictions = [{"energy": np.array(0.1 + i), "stress": SYMMETRIC * (i + 1)} for i in range(12)]
        found, groups = errors(dataset, predictions), [str(i) for i in range(12)]
        assert count_units(found, groups) == {"energy": 12, "stress": carried}
        assert ("stress_rmse_GPa" in intervals(found, groups)) == (carried == 5)
        assert "energy_rmse_meV_per_atom" in intervals(found, groups)


def test_the_interval_of_an_rmse_by_hand():
    """Five groups of one frame: the jackknife of the logarithm, Student's t with the effective number less one."""
    sizes = np.array([1.0, 2.0, 2.0, 3.0, 4.0])  # meV/atom
    dataset = Dataset(tuple(frame(1, energy=np.array(0.0)) for _ in sizes))
    found = intervals(errors(dataset, [{"energy": np.array(e / 1000)} for e in sizes]), list("abcde"))
    squares = sizes**2
    left = np.array([np.log((squares.sum() - one) / 4) / 2 for one in squares])
    whole = np.log(squares.mean()) / 2
    error = np.sqrt(4 / 5 * ((left - whole) ** 2).sum())
    margin = stats.t.ppf(0.975, squares.sum() ** 2 / (squares**2).sum() - 1) * error
    assert found["energy_rmse_meV_per_atom"] == pytest.approx((np.exp(whole - margin), np.exp(whole + margin)))


def test_comparison_by_hand_and_its_pairing():
    dataset = random_frames(24)
    tuned, untuned = errors(dataset, off(dataset, 0.8)), errors(dataset, off(dataset))
    groups = dataset.tag("trajectory")
    found = compare(tuned, untuned, groups)["forces_rmse_eV_per_A"]
    assert found.ratio == pytest.approx(0.8)
    # Every error is 0.8 of its partner: paired draws see no spread, though each model's own interval is wide.
    assert found.interval == pytest.approx((0.8, 0.8))
    assert found.beyond_chance
    base = metrics(untuned)["forces_rmse_eV_per_A"]
    assert found.difference == pytest.approx(-0.2 * base)
    assert found.difference_interval[0] < found.difference < found.difference_interval[1] < 0
    low, high = intervals(untuned, groups)["forces_rmse_eV_per_A"]
    assert high / low > 1.1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_comparison_is_antisymmetric(seed):
    dataset = random_frames(15, seed)
    one, two = errors(dataset, off(dataset, 1.0, seed + 1)), errors(dataset, off(dataset, 1.3, seed + 2))
    groups = dataset.tag("trajectory")
    there, back = compare(one, two, groups), compare(two, one, groups)
    for key in there:
        assert there[key].ratio * back[key].ratio == pytest.approx(1)
        assert there[key].difference == pytest.approx(-back[key].difference)
        assert there[key].difference_interval == pytest.approx([-x for x in back[key].difference_interval[::-1]])
        assert not (there[key].beyond_chance and back[key].beyond_chance)


def test_equal_models_and_rounding_are_no_gain():
    dataset = random_frames(24)
    groups = dataset.tag("trajectory")
    base, exact = errors(dataset, off(dataset)), errors(dataset, off(dataset, 0.0))
    assert not compare(base, base, groups)["energy_mae_meV_per_atom"].beyond_chance
    assert not compare(errors(dataset, off(dataset, 1 - 1e-5)), base, groups)["energy_mae_meV_per_atom"].beyond_chance
    assert compare(exact, exact, groups)["energy_mae_meV_per_atom"].ratio == 1
    assert compare(base, exact, groups)["energy_mae_meV_per_atom"].ratio == np.inf


def test_models_scored_on_different_labels_are_refused():
    dataset = random_frames(10)
    fewer = off(dataset)
    del fewer[2]["stress"]
    with pytest.raises(DataError, match="same stress labels"):
        compare(errors(dataset, fewer), errors(dataset, off(dataset)), dataset.tag("trajectory"))
    without = [{name: value for name, value in each.items() if name != "stress"} for each in fewer]
    found = compare(errors(dataset, without), errors(dataset, off(dataset)), dataset.tag("trajectory"))
    assert {key.split("_")[0] for key in found} == {"energy", "forces"}


def test_the_scores_are_those_of_each_model_and_read_back_from_json():
    dataset = random_frames(18)
    models = {"tuned": off(dataset, 0.5), "untuned": off(dataset), "shift": off(dataset)}
    summary = summarise(dataset, models, dataset.tag("trajectory"), part="validation")
    assert Scores.model_validate_json(json.dumps(summary.model_dump(mode="json"))) == summary
    assert (summary.part, summary.n_groups) == ("validation", 6)
    assert summary.n_groups_with == {"energy": 6, "forces": 6, "stress": 6}
    for tables in (summary.intervals, summary.by_config_type, summary.worst_force_decile):
        assert set(tables) == {"test", "untuned", "shift"}
    assert set(summary.gain) == {"untuned", "shift"}
    gain = summary.gain["shift"]["stress_rmse_GPa"]
    assert gain.ratio == pytest.approx(summary.test["stress_rmse_GPa"] / summary.shift["stress_rmse_GPa"])
    assert gain.beyond_chance is True


def test_no_part_and_no_tuned_model_are_errors():
    dataset = random_frames(2)
    with pytest.raises(DataError, match="neither a test nor a validation part"):
        summarise(dataset[:0], {"tuned": []}, [])
    with pytest.raises(OptionError, match="no predictions of a tuned model"):
        summarise(dataset, {"untuned": off(dataset)}, ["a", "b"])
