"""Pretraining: tables, objectives, and a run that is broken off and resumed."""

import dataclasses
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chisquare

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.files import remove
from matgraft.core.provenance import file_hash
from matgraft.core.settings import make_settings
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone, tensors_of
from matgraft.formulas.encoder_network import MASK
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.labels import add_labels, labels_seen
from matgraft.formulas.pretraining.objectives import (
    PretrainModule,
    PretrainObjective,
    by_length,
    group_neighbours,
    perturbed,
)
from matgraft.formulas.pretraining.run import pretrain, resume_pretraining
from matgraft.formulas.pretraining.settings import EncoderSettings, ObjectiveWeights, PretrainSettings
from matgraft.formulas.pretraining.tables import Tables, is_held_out, read_tables, standardised
from matgraft.formulas.prompts.material_class import material_class
from matgraft.formulas.report.pretraining import write_pretraining_report
from matgraft.formulas.seen_labels import LABELS
from matgraft.formulas.settings import TableRun
from matgraft.formulas.tune import tune_table
from matgraft.foundations import load_folder

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Ti", "Fe", "Ni", "Zn"], ["O", "S", "Se", "F", "Cl", "Br"]
SMALL = EncoderSettings(width=16, layers=1, heads=2, features=16)


@pytest.fixture
def files(tmp_path):
    """A corpus, and a property that follows from the anion."""
    formulas = [f"{m}{n}{x}" for m in METALS for x in ANIONS for n in (1, 2)]
    (tmp_path / "corpus.txt").write_text("\n".join(formulas))
    rows = [
        {"property": name, "formula": f, "target": value, "in_matbench_task": int("Ti" in f)}
        for f in formulas
        for name, value in (("size", float("BrSeCl".find(f[-1]))), ("is_oxide", float(f.endswith("O"))))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "properties.csv", index=False)
    return tmp_path / "corpus.txt", tmp_path / "properties.csv"


def settings(epochs, **changes):
    fit = FitSettings(rate=3e-3, epochs=epochs, batch=16, clip=1.0, ema=0.9, processes=1)
    return PretrainSettings(encoder=SMALL, fit=fit, validation=0.2, **changes)


def test_tables_leave_excluded_rows_out_and_hold_systems_together(files):
    tables = read_tables(*files, exclude="in_matbench_task", validation=0.2)
    assert tables.names == ("is_oxide", "size")
    assert tables.binary.tolist() == [True, False]
    titanium = (tables.numbers == 22).any(1)
    assert titanium.any()
    assert np.isnan(tables.targets[titanium]).all()
    assert np.isfinite(tables.targets[~titanium]).all()
    systems = {}
    for numbers, held in zip(map(tuple, tables.numbers), tables.held_out, strict=True):
        assert systems.setdefault(numbers, held) == held
    assert 0 < tables.held_out.sum() < len(tables.held_out)
    everything = read_tables(*files, exclude="", validation=0.2)
    assert np.isfinite(everything.targets).all()


def test_a_corpus_is_read_as_it_is_spelled(tmp_path):
    """The corpus of the shipped weights has compounds of sulfur and iodine; a person who types one is asked."""
    (tmp_path / "corpus.txt").write_text("K2SIO7\nH7SIO10\n")
    (tmp_path / "table.csv").write_text(
        "property,formula,target\n" + "".join(f"gap,{one},1\n" for one in ("K2SIO7", "NaCl"))
    )
    tables = read_tables(tmp_path / "corpus.txt", tmp_path / "table.csv", exclude=None, validation=0.1)
    assert tables.formula(0).symbols == ("O", "S", "K", "I")
    assert labels_seen(tmp_path / "table.csv", PretrainSettings(exclude=None)).properties == ("gap",)
    with pytest.raises(FormulaError, match="K2SiO7"):
        parse_formula("K2SIO7")
    (tmp_path / "corpus.txt").write_text("K2SIO7\nXq2O3\n")
    with pytest.raises(FormulaError, match="Xq"):
        read_tables(tmp_path / "corpus.txt", None, exclude=None, validation=0.1)


def test_a_formula_of_whole_numbers_comes_back_as_one(tmp_path):
    """Its class is told by the sizes of its numbers, and the map shows it."""
    texts = ["Co5Sm", "Cu3Au2", "Fe2Nb", "Fe2O3", "Fe0.999Ni0.001"]
    (tmp_path / "corpus.txt").write_text("\n".join(texts))
    tables = read_tables(tmp_path / "corpus.txt", None, exclude=None, validation=0.1)
    found = [tables.formula(row) for row in range(len(texts))]
    assert [one.reduced for one in found] == [parse_formula(text).reduced for text in texts]
    assert [material_class(one) for one in found] == ["INTERMETALLIC"] * 3 + ["OXIDE", "ALLOY"]


def test_an_empty_exclude_takes_all_rows(files):
    settings_ = make_settings(PretrainSettings, [], ["exclude="])
    tables = read_tables(*files, exclude=settings_.exclude, validation=0.2)
    every = read_tables(*files, exclude="", validation=0.2)
    left_out = read_tables(*files, exclude="in_matbench_task", validation=0.2)
    assert np.isfinite(tables.targets).sum() == np.isfinite(every.targets).sum() > np.isfinite(left_out.targets).sum()


def test_wild_values_are_tamed_and_zeros_told_apart():
    rng = np.random.default_rng(0)
    wild = np.concatenate([rng.normal(100, 10, 1000), [-1e4, 1e4]])
    ((name, z, binary),) = standardised("anisotropy", wild)
    assert (name, binary) == ("anisotropy", False)
    assert np.abs(z).max() <= 6
    assert abs(np.median(z)) < 0.1
    gaps = np.concatenate([np.zeros(600), rng.uniform(0.5, 5, 400)])
    (kind, is_gap, first), (_, _, second) = standardised("gap", gaps)
    assert (kind, first, second) == ("gap > 0", True, False)
    assert is_gap.sum() == 400


def test_similar_formulas_differ_by_kin_and_small_amounts():
    above, below = group_neighbours()
    assert (int(above[38]), int(below[38])) == (20, 56)  # Ca < Sr < Ba
    assert int(above[57]) == 57  # La has no kin here
    numbers = torch.tensor([[8, 20, 38], [11, 17, 0]])
    fractions = torch.tensor([[0.6, 0.2, 0.2], [0.5, 0.5, 0.0]])
    for seed in range(20):
        changed, amounts = perturbed(numbers, fractions, np.random.default_rng(seed))
        assert int(changed[1, 2]) == 0
        assert torch.allclose(amounts.sum(1), torch.ones(2))
        assert len(set(changed[0].tolist())) == 3  # never two of one element
        assert (amounts[:, :2] / fractions[:, :2]).log().abs().max() < 0.4


@pytest.mark.parametrize("texts", [["CaBaO2", "MgSrF4", "LiKO"], ["ClICs2", "SSeTeZn3", "FClBrI"], ["CuAuAgZnHgCd"]])
def test_a_view_never_holds_one_element_twice(texts):
    """Ca and Ba are both next to Sr: exchanged at once they would make two of it."""
    numbers, fractions = tensors_of([parse_formula(text) for text in texts] * 300)
    changed, _ = perturbed(numbers, fractions, np.random.default_rng(0))
    assert ((changed > 0) == (numbers > 0)).all()
    lengths = (numbers > 0).sum(1).tolist()
    assert [len(set(row) - {0}) for row in changed.tolist()] == lengths
    assert (changed != numbers).any(1).double().mean() > 0.2


class Watched(PretrainObjective):
    """Notes the sizes of the formulas of each batch, and of those that a view was made of: these alone have a loss."""

    def __init__(self, *given):
        super().__init__(*given)
        self.batches, self.viewed = [], []

    def losses(self, positions, device):
        """Return the losses and note whose they are."""
        found, sizes = super().losses(positions, device), self.training.lengths[np.asarray(positions)]
        self.batches.append(sizes)
        self.viewed.append(sizes[(found > 0).numpy()])
        return found


def sized_tables():
    """4000 formulas, three in four of one to three elements."""
    rng = np.random.default_rng(0)
    lengths = rng.choice([1, 2, 3, 5, 8], size=4000, p=[0.1, 0.25, 0.4, 0.2, 0.05])
    numbers = np.zeros((4000, 8), np.uint8)
    for row, n in zip(numbers, lengths, strict=True):
        row[:n] = rng.choice(np.arange(3, 83), n, replace=False)
    fractions = ((numbers > 0) / lengths[:, None]).astype(np.float32)
    return Tables(numbers, fractions, np.zeros((4000, 0), np.float32), np.zeros(0, bool), (), np.arange(4000) < 100)


@pytest.mark.parametrize("alone", ["masked", "contrast"])
def test_views_are_made_of_formulas_of_all_sizes_as_the_batches_hold_them(tmp_path, alone):
    """The loop hands a batch over with its largest formulas first."""
    tables = sized_tables()
    module = PretrainModule(CompositionBackbone.scratch(0, **SMALL.model_dump()).module)
    weights = ObjectiveWeights(**{"properties": 0.0, "masked": 0.0, "contrast": 0.0} | {alone: 1.0})
    objective = Watched(module, tables, weights, 0.125)
    once = FitSettings(rate=1e-3, epochs=1, batch=512, clip=1.0, ema=0.9, processes=1)
    fit(objective, module, [ParamGroup("all", dict(module.named_parameters()))], once, Execution(tmp_path))
    assert [len(sizes) for sizes in objective.viewed] == [round(0.125 * len(sizes)) for sizes in objective.batches]
    seen, held = (np.bincount(np.concatenate(each), minlength=9) for each in (objective.viewed, objective.batches))
    share = held / held.sum()
    assert chisquare(seen[held > 0], share[held > 0] * seen.sum()).pvalue > 0.01


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_batch_of_few_formulas_is_seen_in_views(n):
    module = PretrainModule(CompositionBackbone.scratch(0, **SMALL.model_dump()).module)
    weights = ObjectiveWeights(properties=0, masked=1, contrast=0)
    loss = PretrainObjective(module, sized_tables(), weights, 0.125).losses(range(n), torch.device("cpu"))
    assert loss.shape == (n,)
    assert int((loss > 0).sum()) == min(n, 2)


def test_the_validation_of_contrast_does_not_depend_on_the_order_of_the_sizes():
    """Chunks of a sorted list hold one size each, and only formulas of that size would stand beside one another."""
    objective = PretrainObjective(
        PretrainModule(CompositionBackbone.scratch(0, **SMALL.model_dump()).module),
        dataclasses.replace(sized_tables(), held_out=np.arange(4000) >= 100),
        ObjectiveWeights(properties=0, masked=0, contrast=1), 0.125,
    )  # fmt: skip
    drawn = np.random.default_rng(1).permutation(3900)
    by_size = sorted(drawn.tolist(), key=lambda i: -objective.validation.lengths[i])

    def loss(positions):
        return objective.validation_metrics(objective.validation_sums(positions, torch.device("cpu")))

    assert loss(by_size)["validation_contrast"] == pytest.approx(loss(drawn)["validation_contrast"], rel=0.01)


def test_short_and_long_formulas_apart_give_the_same():
    encoder = CompositionBackbone.scratch(0, **SMALL.model_dump()).module
    numbers = torch.tensor([[8, 26, 0, 0, 0, 0], [1, 6, 7, 8, 16, 20], [14, 0, 0, 0, 0, 0]])
    fractions = (numbers > 0) / (numbers > 0).sum(1, keepdim=True)
    with torch.no_grad():
        whole = encoder.features(numbers, fractions)
        assert torch.allclose(by_length(encoder.features, numbers, fractions), whole, atol=1e-5)
        tokens = by_length(encoder.tokens, numbers, fractions)
    assert tokens.shape == (3, 7, 16)


@pytest.mark.parametrize("alone", ["properties", "masked", "contrast"])
def test_each_objective_alone_is_learned(files, alone):
    tables = read_tables(*files, exclude="", validation=0.2)
    module = PretrainModule(CompositionBackbone.scratch(0, property_names=tables.names, **SMALL.model_dump()).module)
    weights = ObjectiveWeights(**{name: float(name == alone) for name in ("properties", "masked", "contrast")})
    objective = PretrainObjective(module, tables, weights, views=1.0)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    everyone, losses = range(len(objective.train)), []
    for _ in range(60):
        loss = objective.losses(everyone, torch.device("cpu")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def check_the_report(run, history):
    """The page shows this run: its losses by objective, its errors, its formulas coloured by their class."""
    page = write_pretraining_report(run).read_text()
    facts = json.loads((run / "report.json").read_text())
    for name in ("loss", "loss-properties", "loss-masked", "loss-contrast", "map"):
        assert f'id="plot-{name}"' in page
    best = [rows.loc[rows.validation_loss.idxmin()] for _, rows in history.groupby("encoder")]
    assert facts["errors"]["size"] == pytest.approx([row.validation_mae_size for row in best])
    places = facts["map"]
    assert len(places["formula"]) == 120
    kinds = dict(zip(places["formula"], places["material_class"], strict=True))
    assert (kinds["NaCl"], kinds["OZn"], kinds["SZn"]) == ("HALIDE", "OXIDE", "CHALCOGENIDE")
    held = dict(zip(places["formula"], places["held_out"], strict=True))
    assert all(out == is_held_out(parse_formula(text).chemical_system, 0.2) for text, out in held.items())
    centred = np.array([places["x"], places["y"]])
    np.testing.assert_allclose(centred.mean(1), 0, atol=1e-4)
    vectors = load_folder(run).embed(places["formula"])
    spread = np.linalg.eigvalsh(np.cov((vectors - vectors.mean(0)).T))[::-1][:2]
    np.testing.assert_allclose(centred.var(1, ddof=1), spread, rtol=1e-3)
    assert "potential" not in page.split("</head>")[1].split("<script")[0].lower()


def test_the_part_that_is_masked_is_a_setting():
    tables = sized_tables()
    module = PretrainModule(CompositionBackbone.scratch(0, **SMALL.model_dump()).module)
    weights = ObjectiveWeights(properties=0, masked=1, contrast=0)
    hidden = {}
    for fraction in (0.15, 0.5):
        seen = []
        objective = PretrainObjective(module, tables, weights, 1.0, fraction)
        module.encoder.elements.register_forward_hook(lambda _m, given, _out, seen=seen: seen.append(given[0]))
        objective.losses(range(1000), torch.device("cpu"))
        hidden[fraction] = sum(int((numbers == MASK).sum()) for numbers in seen)
        module.encoder.elements._forward_hooks.clear()
    lengths = (tables.numbers[objective.train[:1000]] > 0).sum(1)
    # Of the hidden elements two thirds lose their kind; one of each formula is hidden at least.
    for fraction, found in hidden.items():
        expected = (np.maximum(0, lengths * fraction) + (1 - fraction) ** lengths).sum() * 2 / 3
        assert found == pytest.approx(expected, rel=0.1)


def test_an_unfinished_pretraining_has_no_report(files, tmp_path):
    pretrain(*files, settings(1, encoders=1), tmp_path / "run", quiet=True)
    (tmp_path / "run" / "history.csv").unlink()
    with pytest.raises(RunError, match="not finished"):
        write_pretraining_report(tmp_path / "run")


def test_a_run_learns_and_one_broken_off_ends_at_the_same_weights(files, tmp_path):
    whole = pretrain(*files, settings(6), tmp_path / "whole", quiet=True)
    history = pd.read_csv(tmp_path / "whole" / "history.csv")
    assert set(history["encoder"]) == {0, 1}
    assert history["validation_loss"].iloc[5] < history["validation_loss"].iloc[0]
    assert whole.card.data_sha256.keys() == {"corpus", "properties"}
    check_the_report(tmp_path / "whole", history)

    class KilledError(Exception):
        pass

    def kill(*_args, **_kwargs):
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        from matgraft.core.training import loop as room

        calls = iter(range(100))
        original = room.FitLoop._validate
        patch.setattr(room.FitLoop, "_validate", lambda *a: kill() if next(calls) == 9 else original(*a))
        with pytest.raises(KilledError):
            pretrain(*files, settings(6), tmp_path / "broken", quiet=True)
    resumed = resume_pretraining(tmp_path / "broken", quiet=True)
    for one, other in zip(whole.encoders, resumed.encoders, strict=True):
        for name, weight in one.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name]), name
    assert load_folder(tmp_path / "broken").card.weights_sha256 == whole.card.weights_sha256


def test_the_list_of_labels_lies_beside_the_encoder_and_is_read_by_what_is_tuned_from_it(files, tmp_path):
    pretrain(*files, settings(1, encoders=1), tmp_path / "out", quiet=True)
    table = pd.read_csv(files[1])
    formulas = [parse_formula(text) for text in table["formula"].unique()]
    seen = [22 not in one.numbers and not is_held_out(one.chemical_system, 0.2) for one in formulas]
    assert len(set(seen)) == 2
    labels = load_folder(tmp_path / "out").labels
    assert labels.properties == ("is_oxide", "size")
    assert labels.of(formulas).tolist() == [[one, one] for one in seen]
    rows = pd.DataFrame({"formula": [str(one) for one in formulas], "x": np.arange(len(formulas)) % 7 + 0.5})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    plan = PredictorSettings(strategy="descriptors", inner_folds=2)
    run = TableRun(table=str(tmp_path / "rows.csv"), targets=("x",), foundation=str(tmp_path / "out"), settings=plan)
    known = tune_table(run, tmp_path / "tuned", quiet=True).targets["x"].pretraining
    assert (known.n, known.with_label) == (len(seen), sum(seen))
    assert load_folder(tmp_path / "tuned").labels.content == labels.content

    remove(tmp_path / "out" / "model" / LABELS)  # as of an encoder that was pretrained before lists were written
    assert add_labels(files[1], tmp_path / "out" / "model").of(formulas).tolist() == [[one, one] for one in seen]
    assert load_folder(tmp_path / "out").labels.table.origin == labels.table.origin
    with pytest.raises(DataError, match="was not pretrained on this table"):
        add_labels(tmp_path / "rows.csv", tmp_path / "out" / "model")


def test_what_cannot_be_done_is_said_before_reading(files, tmp_path):
    with pytest.raises(OptionError, match="needs --properties"):
        pretrain(files[0], None, settings(1), tmp_path / "a", quiet=True)
    nothing = settings(1, weights=ObjectiveWeights(properties=0, masked=0, contrast=0))
    with pytest.raises(OptionError, match="nothing to learn"):
        pretrain(*files, nothing, tmp_path / "b", quiet=True)
    with pytest.raises(DataError, match="no column 'other'"):
        pretrain(*files, settings(1, exclude="other"), tmp_path / "d" / "e", quiet=True)
    assert not any((tmp_path / name).exists() for name in "abd")
    pretrain(*files, settings(1), tmp_path / "c", quiet=True)
    with pytest.raises(OptionError, match="not empty"):
        pretrain(*files, settings(1), tmp_path / "c", quiet=True)
    with pytest.raises(RunError, match="not a pretraining"):
        resume_pretraining(tmp_path, quiet=True)
    files[0].write_text(files[0].read_text() + "NaCl\n")
    with pytest.raises(RunError, match=r"changed since the run began: corpus\n"):
        resume_pretraining(tmp_path / "c", quiet=True)
    files[1].unlink()
    with pytest.raises(RunError, match="this file no longer exists"):
        resume_pretraining(tmp_path / "c", quiet=True)


def test_a_corpus_that_leaves_nothing_to_validate_on_is_refused_and_leaves_no_folder(tmp_path):
    (tmp_path / "two.txt").write_text("Si\nGe\n")
    masked = PretrainSettings(weights=ObjectiveWeights(properties=0, masked=1, contrast=0))
    with pytest.raises(DataError, match="0 of 2 formulas are held out"):
        pretrain(tmp_path / "two.txt", None, masked, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("role", ["corpus", "properties"])
def test_two_files_of_one_name_are_told_apart(files, tmp_path, role):
    copies = {}
    for name, file in zip(("corpus", "properties"), files, strict=True):
        (tmp_path / name).mkdir()
        copies[name] = Path(shutil.copy(file, tmp_path / name / "data.csv"))
    run = pretrain(*copies.values(), settings(1, encoders=1), tmp_path / "out", quiet=True)
    assert run.card.data_sha256 == {name: file_hash(copy) for name, copy in copies.items()}
    resume_pretraining(tmp_path / "out", quiet=True)
    copies[role].write_text(copies[role].read_text() + "\n")
    with pytest.raises(RunError, match=f"changed since the run began: {role}"):
        resume_pretraining(tmp_path / "out", quiet=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not readable as a table"),
        (b"\xff\xfe\x00", "not readable as text"),
        (b"property,formula,target\ngap,NaCl,x\n", "line 2: the target 'x' is not a number"),
        (b"property,formula,target\ngap,NaCl,1\ngap,MgO,inf\n", "line 3: the target 'inf' is not a number"),
        (b'property,formula,target\n"gap,NaCl,1\n', "not readable as a table"),
        (b"property,formula,target\na,b,c,d\n", "."),
        (gzip.compress(b"property,formula,target\n" + b"gap,NaCl,1\n" * 200_000), "table_bytes"),
        (b"PK\x03\x04", "packed by zip"),
    ],
)
def test_a_broken_table_of_properties_is_a_sentence(tmp_path, monkeypatch, content, said):
    monkeypatch.setenv("MATGRAFT_LIMITS", "table_bytes=1M")
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_tables(None, tmp_path / "t.csv", exclude=None, validation=0.1)
