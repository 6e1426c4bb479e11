"""What every test may count on: one thread a process, shared data or a skip, examples that repeat."""

import os
import re

# Before torch is imported: a thread pool already started does not shrink.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from ase.build import bulk
from typer.main import get_command

from matgraft import cli
from matgraft.foundations import load
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import READS

torch.set_num_threads(1)

# A busy machine is slow, not wrong: no deadlines. The same examples each run: a red CI is red at the desk too.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of bytes by its place: a packed file holds the time, and each worker collects at its own."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the sets that tests make out of the user's cache; processes that they start inherit this."""
    os.environ["MATGRAFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _few_trees() -> Iterator[None]:
    """What is tested of forests does not hang on how many trees there are; how good they are, benchmarks say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matgraft.formulas.learners.forest.COUNT", 60)
        yield


@pytest.fixture
def matgraft(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: words in, exit code, standard output and standard error out."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["matgraft", *map(str, words)])
            patch.setenv("COLUMNS", "160")
            try:
                cli.run_command_line()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
        said = capsys.readouterr()
        if code and words and "Usage:" not in said.err:  # typer's own words
            check_options_named(str(words[0]), said.err)
        return code, said.out, said.err

    return call


def check_options_named(verb: str, message: str) -> None:
    """Fail if an error tells to type an option that its verb, or the command beside the option, does not have."""
    verbs = get_command(cli.app).commands  # type: ignore[attr-defined]
    for line in message.splitlines():
        named = verb
        for command, option in re.findall(r"\bmatgraft ([a-z]+)\b|(?<![\w-])(--[a-z][a-z-]*)", line):
            named = command if command in verbs else named
            if option and named in verbs:
                able = {"--help", *(name for parameter in verbs[named].params for name in parameter.opts)}
                assert option in able, f"`matgraft {named}` has no {option}: {line}"
        if line.startswith("option: ") and verb in READS:
            for key in re.findall(r"(?:^|\s'?)([a-z_.]+)=", line.removeprefix("option:")):
                assert any(read.matches(key) for read in READS[verb]), f"`matgraft {verb}` does not read {key}: {line}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of DFT frames, formula tables and foundation potentials beside the checkout."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which lies beside the project's own checkout only")
    return folder


@pytest.fixture(scope="session")
def sige() -> Dataset:
    """The embedded frames: 8-atom cells of silicon, germanium and their alloys, labelled by Quantum ESPRESSO."""
    return read(REPOSITORY / "examples/data/sige/frames.extxyz")


@pytest.fixture(scope="session")
def chgnet() -> Potential:
    """CHGNet 0.3.0. One for all tests: whoever changes it takes a deep copy."""
    potential = load("chgnet")
    assert isinstance(potential, Potential)
    return potential


@pytest.fixture(scope="session")
def pairs() -> Dataset:
    """Six distorted cells of two atoms (Si2, SiGe, Ge2) with all three labels drawn at random: quick to pass."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(6):
        atoms = bulk("Si", "diamond", a=5.5)
        atoms.symbols = ["Si" if i % 3 < 2 else "Ge", "Ge" if i % 3 else "Si"]
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.1 * rng.standard_normal((2, 3))
        stress = 0.02 * rng.standard_normal((3, 3))
        labels = {
            "energy": np.array(-10.0 + rng.standard_normal()),
            "forces": rng.standard_normal((2, 3)),
            "stress": stress + stress.T,
        }
        samples.append(Sample(atoms, labels, {"kind": "cold" if i < 4 else "hot"}, file="pairs.xyz", index=i))
    return Dataset(tuple(samples))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an accelerator where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
