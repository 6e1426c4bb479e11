"""The whole predictor: what it keeps apart, what it chooses, and that it can be kept."""

import copy
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import norm

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import write_text
from matgraft.core.manifest import FILE
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.closed_form import Process, WeightedNoise
from matgraft.formulas.learners.folds import inner_folds
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Examples, Inputs, Labels
from matgraft.formulas.learners.novelty import Neighbourhood
from matgraft.formulas.learners.transform import Transform, choose_transform
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.inner import InnerFolds, predict_inner_folds
from matgraft.formulas.predictor.members import DESCRIPTORS as DESCRIPTORS_MEMBER
from matgraft.formulas.predictor.members import FULL as FULL_NETWORK
from matgraft.formulas.predictor.members import Member, Tools
from matgraft.formulas.predictor.out_of_fold import OutOfFoldCalibration
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.stack import can_win, is_familiar, is_worth_fitting, member_weights
from matgraft.formulas.predictor.store import PREDICTOR, TargetNames, load_predictor, save_predictor

from .conftest import QUICK

DESCRIPTORS = PredictorSettings(strategy="descriptors", inner_folds=3)
FULL = PredictorSettings(strategy="full", inner_folds=2, network=QUICK)


def make(small, table, settings=DESCRIPTORS, **more):
    formulas, y = table
    return fit_predictor(Examples(formulas, more.pop("y", y), **more), small, settings)


@pytest.fixture(scope="module")
def predictor(small, table):
    with pytest.MonkeyPatch.context() as patch:
        for room in ("learners.inputs", "predictor.inner", "predictor.predictor"):
            patch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)
        return make(small, table)


def test_how_a_formula_is_written_does_not_matter(predictor):
    first, second = (predictor.predict([parse_formula(text)]) for text in ("Ca2F3O", "OF3Ca2"))
    assert first.value == second.value
    assert first.lower == second.lower


@pytest.mark.parametrize("rows", [1, 2])
def test_a_second_measurement_of_a_training_formula_lies_in_its_interval(small, table, monkeypatch, rows):
    """Trees return the value that they saw, and their interval of it has no width."""
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 20)
    formulas, noise = table[0], np.random.default_rng(1).normal(0, 0.3, (rows + 1, len(table[1])))
    measured = make(small, (formulas * rows, (table[1] + noise[1:]).ravel()))
    given, held = measured.predict(formulas), measured.out_of_fold.take(np.arange(len(formulas)))
    assert given.in_training.all()
    assert np.mean((table[1] + noise[0] >= given.lower) & (table[1] + noise[0] <= given.upper)) > 0.85
    assert (given.lower <= held.lower).all() and (given.upper >= held.upper).all() and (given.std >= held.std).all()
    assert np.abs(given.value - table[1]).mean() < 0.3  # it is still the measured one
    new = measured.predict([parse_formula("BaF"), formulas[0]])
    assert new.in_training.tolist() == [False, True]
    assert new.upper[1] == given.upper[0]


def test_a_training_formula_with_other_covariates_keeps_the_interval_of_the_fits(small, table, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 5)
    hot = np.where(np.arange(len(table[0])) % 2 == 0, 300.0, 900.0)[:, None]
    warm = make(small, table, covariates=hot)
    same, other = (warm.predict(table[0], covariates) for covariates in (hot, hot + 1))
    assert other.in_training.all() and (other.upper - other.lower).mean() < 0.5 * (same.upper - same.lower).mean()


def test_features_do_not_depend_on_how_formulas_are_cut(small, table, monkeypatch):
    whole = Inputs.of(table[0], small)
    monkeypatch.setattr("matgraft.formulas.learners.inputs.CHUNK", 7)
    cut = Inputs.of(table[0], small)
    for name, block in whole.blocks.items():
        np.testing.assert_allclose(cut.blocks[name], block, atol=1e-5, err_msg=name)


def test_unseen_anions_of_known_kind_are_predicted(predictor):
    prediction = predictor.predict([parse_formula(text) for text in ("BaF", "BaS")])
    assert prediction.value[0] > 3 > 1.7 > prediction.value[1]
    assert (prediction.lower <= prediction.value).all()
    assert (prediction.value <= prediction.upper).all()


def test_out_of_fold_intervals_hold_what_they_state(predictor, table):
    held = predictor.out_of_fold
    inside = (table[1] >= held.lower) & (table[1] <= held.upper)
    assert 0.88 <= inside.mean() <= 0.97


def test_equal_formulas_share_an_inner_fold():
    groups = [str(i % 20) for i in range(80)]
    folds = inner_folds(groups, 5, seed=0)
    assert sorted(i for fold in folds for i in fold) == list(range(80))
    homes = [{k for k, fold in enumerate(folds) for i in fold if groups[i] == group} for group in set(groups)]
    assert all(len(home) == 1 for home in homes)


def test_a_formula_of_two_papers_never_stands_on_both_sides_of_a_fold(small, table, monkeypatch):
    """Eight papers of ten formulas; the first formula of each even one is measured again by the next: four sets."""
    formulas, y = table
    rows = [*range(80), 0, 20, 40, 60]
    names = [f"paper {i // 10}" for i in range(80)] + ["paper 1", "paper 3", "paper 5", "paper 7"]
    given = [formulas[i] for i in rows], y[rows]
    seen = []
    stop = "matgraft.formulas.predictor.fitting.predict_inner_folds"
    monkeypatch.setattr(stop, lambda *parts: seen.append(parts[2].rows) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(small, given, DESCRIPTORS.model_copy(update={"inner_folds": 5}), groups=names)
    assert len(seen[0]) == 4
    for held in seen[0]:
        rest = np.setdiff1d(np.arange(len(rows)), held)
        assert not {names[i] for i in held} & {names[i] for i in rest}
        assert not {given[0][i] for i in held} & {given[0][i] for i in rest}
    with pytest.raises(DataError, match="nothing can be held out"):
        make(small, ([*formulas[:10] * 4], y[:40]), groups=[f"paper {i // 10}" for i in range(40)])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_covariate_that_is_no_number_is_an_error_where_it_enters(small, table, bad):
    formulas, y = table
    heat = np.linspace(0, 1, len(y))[:, None]
    broken = np.where(np.arange(len(y))[:, None] == 7, bad, heat)
    with pytest.raises(DataError, match="covariate 0 of row 7"):
        make(small, table, covariates=broken)
    with pytest.raises(DataError, match="covariate 0 of row 1"):
        Inputs.of(formulas[:2], small, np.array([[0.1], [bad]]))
    with pytest.raises(DataError, match=r"covariates of shape \(2, 1\)"):
        Inputs.of(formulas[:3], small, heat[:2])


def test_covariates_matter_and_are_asked_for(small, table):
    formulas, y = table
    heat = np.linspace(0, 1, len(y))[:, None]
    predictor = make(small, table, y=10 * heat[:, 0], covariates=heat)
    cold, hot = predictor.predict([formulas[0]] * 2, np.array([[0.1], [0.9]])).value
    assert cold + 2 < hot
    with pytest.raises(DataError, match="covariates"):
        predictor.predict([formulas[0]])


def test_no_fold_holds_all_rows_of_a_class():
    groups, classes = [str(i) for i in range(40)], (np.arange(40) > 36).astype(float)  # three rows of the second class
    for seed in range(30):
        folds = inner_folds(groups, 2, seed, classes)
        assert all(set(classes[np.setdiff1d(np.arange(40), held)]) == {0, 1} for held in folds)
    with pytest.raises(DataError, match="class 1 is of one formula or group"):
        inner_folds([*groups[:37], "x", "x", "x"], 5, 0, classes)


@pytest.mark.parametrize("n_folds", [2, 5])
def test_many_classes_of_two_formulas_are_torn_apart(n_folds):
    classes = np.repeat(np.arange(41.0), [60, *[2] * 40])
    groups = [str(i) for i in range(len(classes))]
    for seed in range(3):
        folds = inner_folds(groups, n_folds, seed, classes)
        assert sorted(np.concatenate(folds)) == list(range(140)) and min(map(len, folds)) > 10
        assert all(len(set(np.delete(classes, held))) == 41 for held in folds)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_class_of_one_formula_is_an_error_before_any_fit(small, table, monkeypatch, n_classes):
    formulas, y = table
    labels = (np.arange(len(y)) % (n_classes - 1)).astype(float)
    labels[[5, 6]] = n_classes - 1
    monkeypatch.setattr("matgraft.formulas.predictor.fitting.predict_inner_folds", lambda *_: 1 / 0)
    with pytest.raises(DataError, match=f"class {n_classes - 1} is of one formula"):
        make(small, ([*formulas[:6], formulas[5], *formulas[7:]], y), y=labels, n_classes=n_classes)


def test_four_threads_that_ask_first_get_the_same_whole_predictor(small, table, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 10)
    predictor = make(small, table)
    expected = copy.deepcopy(predictor).predict(table[0][:4]).value
    fit, fits = Member.fit, []

    def slow(self, *given):
        fits.append(self.name)
        time.sleep(0.05)
        return fit(self, *given)

    monkeypatch.setattr(Member, "fit", slow)
    together = threading.Barrier(4)

    def ask(_):
        together.wait()
        return predictor.predict(table[0][:4]).value

    with ThreadPoolExecutor(4) as pool:
        for value in pool.map(ask, range(4)):
            np.testing.assert_array_equal(value, expected)
    assert len(fits) == sum(
        bool(w) and m.refits for m, w in zip(predictor.members, predictor.calibration.weights, strict=True)
    )


def test_an_interrupted_first_prediction_leaves_the_predictor_as_it_was(small, table, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 10)
    predictor = make(small, table)
    expected = copy.deepcopy(predictor).predict(table[0][:4]).value
    fit, calls = Member.fit, []

    def broken(self, *given):
        calls.append(self)
        if len(calls) == np.count_nonzero(predictor.calibration.weights):  # the last one: the others are built by then
            raise KeyboardInterrupt
        return fit(self, *given)

    monkeypatch.setattr(Member, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(table[0][:4])
    np.testing.assert_array_equal(predictor.predict(table[0][:4]).value, expected)
    again = pickle.loads(pickle.dumps(predictor))
    np.testing.assert_array_equal(again.predict(table[0][:4]).value, expected)


@pytest.mark.parametrize("strategy", ["descriptors", "feature"])
@pytest.mark.parametrize("n_classes", [0, 2])
def test_a_row_of_weight_zero_is_as_good_as_absent(small, table, monkeypatch, strategy, n_classes):
    """Wild values, zeros, other groups: none sets scale, centre, interval, class or baseline."""
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 10)
    formulas, y = table
    idle = np.arange(80) % 3 == 0
    wild = np.where(idle, np.where(np.arange(80) % 2, 1e6, -1e6), y)
    if n_classes:
        y, wild = (y > 2.5).astype(float), np.where(idle, 1.0, y > 2.5)
    weights, rows = np.where(idle, 0.0, 1 + np.arange(80) % 2), np.flatnonzero(~idle)
    settings = PredictorSettings(strategy=strategy, inner_folds=2)
    some = Examples([formulas[i] for i in rows], y[rows], n_classes, weights=weights[rows])
    alone = fit_predictor(some, small, settings)
    groups = [formula.key if not idle[i] else "idle" for i, formula in enumerate(formulas)]
    beside = fit_predictor(Examples(formulas, wild, n_classes, weights=weights, groups=groups), small, settings)
    assert beside.facts == alone.facts and beside.calibration.transform == alone.calibration.transform
    for ours, theirs in (
        (beside.predict(formulas[:9]), alone.predict(formulas[:9])),
        (beside.out_of_fold.take(rows), alone.out_of_fold),
    ):
        for name in ("value", "lower", "upper", "std", "distance", "probabilities"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    assert len(beside.out_of_fold.value) == 80 and np.isnan(beside.out_of_fold.value[idle]).all()


def test_a_class_of_weight_zero_is_an_error(small, table):
    kinds = np.arange(80.0) % 3
    with pytest.raises(DataError, match="no row of class 2 counts"):
        make(small, table, y=kinds, n_classes=3, weights=np.where(kinds == 2, 0.0, 1.0))


def test_a_gaussian_process_divides_the_variance_of_the_noise_by_the_weight():
    """Each point is measured twice, 0 with weight 9 and 1 with weight 1: the mean is 1/10, to the prior's pull."""
    x = np.repeat(np.random.default_rng(0).normal(size=(60, 2)), 2, 0)
    weights, y = np.tile([9.0, 1.0], 60) / 5, x[:, 0] + np.tile([0.0, 1.0], 60)
    process = Process(x, Labels(y, weights), 0)
    assert np.mean(process(x)[:, 49] - x[:, 0]) == pytest.approx(0.1, abs=0.01)
    kernel = process.process.kernel_
    covariance = kernel(process.process.X_train_) - kernel.k1(process.process.X_train_)
    np.testing.assert_allclose(covariance, np.diag(kernel.k2.noise_level / weights[drawn(120)]), atol=1e-12)


def drawn(n):
    return np.random.default_rng(0).permutation(n)


def test_the_gradient_of_weighted_noise_is_that_of_its_covariance():
    weights, x = np.array([0.5, 2.0, 8.0]), np.zeros((3, 1))
    noise, step = WeightedNoise(0.3, weights=weights), 1e-6
    _, gradient = noise(x, eval_gradient=True)
    above, below = (noise.clone_with_theta(noise.theta + s)(x) for s in (step, -step))
    np.testing.assert_allclose(gradient[..., 0], (above - below) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(noise.diag(x), 0.3)  # of a new measurement


@pytest.mark.parametrize("scale", ["none", "asinh"])
def test_the_standard_deviation_holds_what_it_states(scale):
    """Members that are three times too sure, and three times too unsure."""
    rng = np.random.default_rng(0)
    y = 3 * rng.normal(size=2000) + 10
    transform = Transform(scale=scale, centre=10.0, width=2.0)
    units = np.arange(2000)
    for width in (1.0, 9.0):
        quantiles = transform.forward(10 + width * norm.ppf(LEVELS)) + np.zeros((2000, 99))
        rules = [
            IntervalRule.of(quantiles, transform.forward(y), level, np.ones(2000), units) for level in (0.9, 0.6827)
        ]
        calibration = OutOfFoldCalibration(np.ones(1), rules[0], np.ones(1), np.ones(0), transform, deviation=rules[1])
        held = calibration.read(quantiles, quantiles, np.zeros(2000))
        assert (np.abs(y - held.value) <= held.std).mean() == pytest.approx(0.6827, abs=0.02)
        assert held.std[0] == pytest.approx(3, rel=0.06)


def test_no_bound_of_a_positive_quantity_is_lost_to_rounding():
    """On the inverse hyperbolic sine 0 comes back as -1e-16 for some tables; the sign is asked of the values."""
    lost = 0
    for seed in range(40):
        y = np.abs(np.random.default_rng(seed).standard_cauchy(400)) * 3 + 1
        y[:8] = 0.0
        transform = choose_transform(y, "asinh")
        lost += bool((transform.back(transform.forward(y)) < 0).any())
        wide = transform.forward(np.array([-50.0, 5.0, 60.0]))[[0] * 40 + [1] * 19 + [2] * 40][None]
        rule = IntervalRule(level=0.9, part=0.9)
        calibration = OutOfFoldCalibration(np.ones(1), rule, np.ones(1), np.ones(0), transform, deviation=rule)
        held = calibration.read(wide, wide, np.zeros(1))
        assert held.lower[0] == 0 and held.upper[0] == pytest.approx(60)
        assert not choose_transform(np.append(y, -1e-3), "asinh").positive
    assert lost


def test_bad_input_is_said(small, table):
    formulas, y = table
    with pytest.raises(DataError, match="5 rows"):
        fit_predictor(Examples(formulas[:5], y[:5]), small)
    with pytest.raises(DataError, match="not finite"):
        make(small, table, y=np.where(np.arange(len(y)) == 3, np.nan, y))
    with pytest.raises(DataError, match="class 1"):
        make(small, table, y=2.0 * (y > 2.5), n_classes=3)
    with pytest.raises(DataError, match="weight"):
        make(small, table, weights=-np.ones(len(y)))
    with pytest.raises(DataError, match="one group"):
        make(small, table, groups=["a"] * len(y))
    with pytest.raises(DataError, match="logarithm"):
        make(small, table, PredictorSettings(strategy="descriptors", scale="log"), y=y - 5)
    with pytest.raises(OptionError, match="strategy"):
        make(small, table, PredictorSettings(strategy="best"))
    for n in (len(y) - 1, len(y) + 1):
        with pytest.raises(DataError, match=f"{len(y)} values, but {n} groups"):
            make(small, table, groups=["a", "b"] * (n // 2) + ["c"] * (n % 2))
    for kinds in ((y > 2.5) * 2.0, (y > 2.5) * 0.5, (y > 2.5) - 1.0):
        with pytest.raises(DataError, match="is not an index of 2 classes"):
            make(small, table, y=kinds, n_classes=2)
    with pytest.raises(DataError, match="of one class"):
        make(small, table, y=0 * y, n_classes=1)
    for seed in (-1, 2**31):
        with pytest.raises(ValueError, match="seed"):
            PredictorSettings(seed=seed)


def test_values_over_decades_are_learned_by_logarithm(small, table):
    predictor = make(small, table, y=10.0 ** table[1])
    assert predictor.facts.scale == "log"
    value = predictor.predict([parse_formula("BaF"), parse_formula("BaS")]).value
    assert value[0] > 1e3
    assert value[1] < 1e2


def test_no_interval_leaves_a_positive_quantity(predictor, small, table):
    held = make(small, table, y=np.abs(table[1] - 2)).out_of_fold
    assert (held.lower >= 0).all()


def read(calibration, probabilities):
    mixed = np.array(probabilities)
    return calibration.read(mixed, mixed, np.zeros(1))


def test_networks_go_on_if_they_save_the_mixture_enough():
    y = np.arange(10.0)

    def losses(mixed):
        return np.abs(mixed[:, 0] - y)

    high, low, better = (y[:, None] + error for error in (0.5, -0.4, 0.499))
    assert is_worth_fitting([low], [high], losses)
    assert not is_worth_fitting([better], [high], losses)
    assert not is_worth_fitting([high], [high, low], losses)


def test_networks_that_buy_nothing_stop_after_the_first_fold(small, table, monkeypatch, tmp_path):
    monkeypatch.setattr("matgraft.formulas.predictor.members.FEWEST_FOR_NETWORK", 10)
    quick = PredictorSettings(strategy="auto", inner_folds=3, network=QUICK)  # two epochs: hopeless
    assert not make(small, table, quick).networks, "features of an encoder that knows nothing bring nothing"
    monkeypatch.setattr("matgraft.formulas.predictor.inner._Fits.encoder_is_worth_it", lambda *_: True)
    predictor = make(small, table, quick)
    assert [member.name for member in predictor.facts.dropped] == [FULL_NETWORK.name]
    assert all(member.refits for member in predictor.members)
    assert not predictor.networks
    save_predictor(predictor, tmp_path)
    formulas = table[0][:5]
    again = load_predictor(tmp_path, small)[0].predict(formulas)
    np.testing.assert_allclose(again.value, predictor.predict(formulas).value)
    monkeypatch.setattr("matgraft.formulas.predictor.stack.WORTH", -1.0)
    assert len(make(small, table, quick).networks[FULL_NETWORK.name]) == 3


@pytest.mark.parametrize("heavy", [1.0, 9.0])
def test_the_loss_of_a_dropped_network_does_not_hang_on_the_weight_of_its_fold(small, table, monkeypatch, heavy):
    monkeypatch.setattr("matgraft.formulas.predictor.inner.is_worth_fitting", lambda *_: False)
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 2)
    rows = [np.arange(k, 80, 2) for k in (0, 1)]
    weights = np.where(np.arange(80) % 2 == 0, heavy, 1.0)
    labels = Labels(table[1], weights / weights.mean())

    def losses(predicted, some):
        return labels.weights[some] * np.full(len(predicted), 0.5)

    part, tools = (Inputs.of(table[0], small), labels), Tools(small, QUICK)
    found = predict_inner_folds(
        [DESCRIPTORS_MEMBER, FULL_NETWORK], part, InnerFolds(rows), losses, tools, 0, "", np.arange(80)
    )
    assert [(member.name, round(score, 6)) for member, score in found.dropped] == [(FULL_NETWORK.name, 0.5)]


@pytest.mark.parametrize("lost", ["networks/*-1.safetensors", "train.npz"])
def test_a_folder_that_lacks_a_file_predicts_nothing(small, table, tmp_path, lost):
    """The rest of a mixture would answer in silence, with weights that do not sum to 1."""
    save_predictor(make(small, table, FULL), tmp_path)
    for file in tmp_path.glob(lost):
        file.unlink()
    with pytest.raises(DataError, match=r"train.npz is missing|1 of 2 networks of 'encoder, every stage tuned'"):
        load_predictor(tmp_path, small)


def test_classes_many_ordered_and_rare(small, table):
    y = np.floor(table[1].clip(0.6, 4.4) - 0.5)  # 0, 1, 2, 3
    free = make(small, table, y=y, n_classes=4)
    assert (free.out_of_fold.value == y).mean() > 0.8
    np.testing.assert_allclose(free.out_of_fold.probabilities.sum(1), 1)
    ordered = make(small, table, DESCRIPTORS.model_copy(update={"ordinal": True}), y=y, n_classes=4)
    calibration = ordered.calibration
    middle = read(calibration, [[0.3, 0.1, 0.2, 0.4]])
    assert middle.value == 2  # the middle, although the last is the likeliest
    rare = free.calibration.__class__(
        calibration.weights, None, calibration.temperatures, np.array([0.97, 0.01, 0.01, 0.01]), calibration.transform
    )
    assert read(rare, [[0.9, 0.06, 0.02, 0.02]]).value == 1


def test_a_strategy_without_a_baseline_is_compared_with_one(small, table):
    predictor = make(small, table, FULL)
    names = {member.name: member for member in predictor.facts.members}
    assert names["encoder, every stage tuned"].weight == 1
    assert names["trees on descriptors"].weight == 0
    baseline = predictor.facts.baseline
    assert baseline.score == pytest.approx(names["trees on descriptors"].score)
    assert baseline.difference == pytest.approx(predictor.facts.score - baseline.score)
    low, high = baseline.interval
    assert low < baseline.difference < high


def noisy(y, *deviations):
    rng = np.random.default_rng(0)
    return [y[:, None] + rng.normal(0, s, (len(y), 1)) for s in deviations]


def test_the_stack_takes_what_is_better_and_doubts_what_may_be_luck():
    y = np.random.default_rng(1).normal(size=300)

    def losses(p):
        return np.abs(p[:, 0] - y)

    plain, better, other = noisy(y, 1.0, 0.2, 1.0)
    for familiar in (True, False):
        weights = member_weights([plain, better], losses, [True, False], familiar)[0]
        np.testing.assert_allclose(weights, [0, 1], atol=0.2)
    almost = plain + np.random.default_rng(2).normal(0, 0.02, (300, 1))
    assert member_weights([plain, almost], losses, [True, False], familiar=False)[0].tolist() == [1, 0]
    both = member_weights([plain, other], losses, [True, True], familiar=False)[0]
    assert 0.2 < both[0] < 0.8  # two equally good ones are averaged
    assert both.sum() == pytest.approx(1)


def test_the_first_fold_ends_members_that_cannot_win_but_the_best_of_each_kind_stays():
    rng, n = np.random.default_rng(0), 60
    truth = rng.normal(size=n)
    near, far, worse = (truth[:, None] + rng.normal(size=(n, 1)) * by for by in (0.1, 3.0, 4.0))

    def losses(predicted):
        return np.abs(predicted[:, 0] - truth)

    units, weights = np.arange(n), np.ones(n)
    assert can_win([near, far, worse], losses, [True, True, False], units, weights) == [True, False, True]
    assert can_win([near, far, worse], losses, [False, True, True], units, weights) == [True, True, False]
    assert can_win([near, near, near], losses, [True] * 3, units, weights) == [True] * 3
    few = np.arange(n) // 20  # three units decide nothing
    assert can_win([near, far, worse], losses, [True] * 3, few, weights) == [True] * 3


@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0])
def test_who_can_win_does_not_hang_on_how_much_the_first_fold_weighs(weight):
    rng, n = np.random.default_rng(0), 200
    truth, error = rng.normal(size=n), 0.5 * rng.normal(size=n)
    members = [
        (truth + error)[:, None],
        (truth + 1.5 * error)[:, None],
        (truth + error + 0.1 * rng.normal(size=n))[:, None],
    ]
    weights = np.full(n, weight)

    def losses(predicted):
        return weights * np.abs(predicted[:, 0] - truth)

    assert can_win(members, losses, [True, True, False], np.arange(n), weights) == [True, False, True]


def test_of_many_rows_like_those_of_the_pretraining_the_encoder_is_taken_where_it_is_better():
    rng, n = np.random.default_rng(0), 400
    noise = rng.normal(size=(n, 1))
    plain, slightly_worse, better = 1.0 + 0.1 * noise, 1.0 + 0.101 * noise, 1.0 + 0.05 * noise

    def losses(predicted):
        return np.abs(predicted[:, 0])

    worse = member_weights([plain + 1, slightly_worse + 1.001], losses, [True, False], familiar=True)
    assert worse[0].tolist() == [1, 0] and worse[1] is not None and not worse[1].passed and worse[1].needed == 0
    good, gate = member_weights([plain, better - 0.5], losses, [True, False], familiar=True)
    assert good[1] > 0.5 and gate.passed and gate.without == pytest.approx(losses(plain).mean(), rel=1e-6)
    low, high = gate.interval
    assert low < gate.gain < high


def test_of_few_rows_members_of_a_kind_count_alike():
    y = np.random.default_rng(1).normal(size=60)

    def losses(p):
        return np.abs(p[:, 0] - y)

    plain, first, second = noisy(y, 1.0, 0.3, 0.6)
    assert member_weights([plain, first, second], losses, [True, False, False], familiar=True)[0].tolist() == [
        0,
        0.5,
        0.5,
    ]
    slightly_worse = plain + np.random.default_rng(3).normal(0, 0.3, (60, 1))
    (worse,) = noisy(y, 3.0)
    doubtful = member_weights([plain, slightly_worse], losses, [True, False], familiar=True)[0]
    assert doubtful.tolist() == [0, 1]  # familiar formulas: passed unless the rows speak clearly against it
    assert member_weights([plain, slightly_worse], losses, [True, False], familiar=False)[0].tolist() == [1, 0]
    assert member_weights([plain, worse], losses, [True, False], familiar=True)[0].tolist() == [1, 0]


def test_compounds_are_familiar_and_dilute_alloys_are_not():
    assert is_familiar([parse_formula(text) for text in ("Fe2O3", "SrTiO3", "Fe0.997C0.003")])
    assert not is_familiar([parse_formula(text) for text in ("Fe0.62C0.000953Mn0.000521", "Al10Co21B19", "NaCl")])


def test_far_formulas_are_strangers():
    rng = np.random.default_rng(0)
    home = Neighbourhood.of({"embedding": rng.normal(size=(300, 4))})
    near, far = home.distance({"embedding": np.array([[0.0] * 4, [30.0] * 4])})
    assert near < 1 < far
    again = Neighbourhood.of({"embedding": np.repeat(rng.normal(size=(50, 4)), 3, axis=0)})
    assert again.unit > 1e-3  # the same formula three times is no neighbour of itself


def test_a_folder_of_an_earlier_release_keeps_its_sign_and_its_spread(small, table, monkeypatch, tmp_path):
    """It knows neither the rule of the standard deviation nor whether values are positive, and has figures in it."""
    monkeypatch.setattr("matgraft.formulas.learners.forest.COUNT", 10)
    predictor = make(small, table, y=np.abs(table[1] - 2))
    save_predictor(predictor, tmp_path)
    content = json.loads((tmp_path / PREDICTOR.name).read_text())
    del content["calibration"]["deviation"], content["calibration"]["transform"]["positive"], content["networks"]
    content |= {"facts": {"n": 80}, "metrics": {"verdict": {"level": "better", "cautions": ["few rows"]}}}
    write_text(tmp_path / PREDICTOR.name, json.dumps(content))
    old, new = load_predictor(tmp_path, small)[0].predict(table[0]), predictor.predict(table[0])
    for name in ("value", "lower", "upper"):
        np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
    assert (old.lower >= 0).all() and np.isfinite(old.std).all() and (old.std > 0).any()


@pytest.mark.parametrize("n_classes", [0, 2])
def test_a_stored_predictor_predicts_the_same(small, table, tmp_path, n_classes):
    y = (table[1] > 2.5).astype(float) if n_classes else table[1]
    for settings in (FULL, PredictorSettings(strategy="feature", inner_folds=2)):
        folder = tmp_path / settings.strategy
        predictor = make(small, table, settings, y=y, n_classes=n_classes)
        save_predictor(predictor, folder, TargetNames(target="y"))
        again, names = load_predictor(folder, small)
        assert names.target == "y"
        one, other = predictor.predict(table[0][:7]), again.predict(table[0][:7])
        for name in ("value", "lower", "upper", "std", "distance"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)
        kinds = {path.suffix for path in folder.rglob("*") if path.is_file() and path.name != FILE}
        assert kinds <= {".json", ".npz", ".safetensors"}
    oracle = (folder / PREDICTOR.name).read_text().replace("closed form on the encoder", "oracle")
    write_text(folder / PREDICTOR.name, oracle)
    with pytest.raises(DataError, match="another release: no member 'oracle'"):
        load_predictor(folder, small)
    (folder / PREDICTOR.name).unlink()
    with pytest.raises(DataError, match="no predictor"):
        load_predictor(folder, small)
