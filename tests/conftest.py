"""What every test may count on: one thread a process, shared data or a skip, examples that repeat."""

import os

# Before torch is imported: a thread pool already started does not shrink.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import hypothesis
import pytest
import torch

torch.set_num_threads(1)

# A busy machine is slow, not wrong: no deadlines. The same examples each run: a red CI is red at the desk too.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of DFT frames, formula tables and foundation potentials beside the checkout."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which lies beside the project's own checkout only")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an accelerator where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
