"""The short lane: broken inputs to every reader and parser in this process; limits and deaths in a child.

The longer one is `make fuzz`. What is drawn is the same each time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError, MatgraftError
from matgraft.core.texts import parse_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parent))

from _limited import Bounds, tried
from mutations import MUTATIONS, mutated
from surfaces import SURFACES

MOST_S = 10.0
SHORT = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
NOT_HERE = {"frames:lmdb", "models"}
"""Their readers map files into memory, where a broken one may end a process: the longer lane has them, in a child."""


def given_to(name: str, path: Path, content: bytes) -> None:
    """Give content to a surface; fail where anything but an error of matgraft's comes out, or where it takes long."""
    path.write_bytes(content)
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            SURFACES[name].call(path)
        except MatgraftError as error:
            assert str(error).strip()
    assert time.process_time() - begun < MOST_S


@pytest.mark.parametrize("name", sorted(SURFACES))
def test_seeds_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    seeds = SURFACES[name].seeds()
    assert seeds
    for seed in seeds[:4]:
        given_to(name, tmp_path / seed.name, seed.content)


@pytest.mark.parametrize("name", sorted(set(SURFACES) - NOT_HERE))
def test_broken_inputs_are_errors_of_ours_alone(name: str, tmp_path: Path) -> None:
    seeds = SURFACES[name].seeds()

    @SHORT
    @given(st.randoms(use_true_random=False, note_method_calls=False), st.sampled_from(seeds))
    def broken(rng: random.Random, seed: object) -> None:
        given_to(name, tmp_path / seed.name, mutated(seed.content, rng, [one.content for one in seeds]))  # type: ignore[attr-defined]

    broken()


@pytest.mark.parametrize("name", sorted(name for name in SURFACES if SURFACES[name].seeds()[0].name == "text"))
def test_any_text_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    @SHORT
    @given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("utf-8", "surrogateescape")))
    def any_text(text: str) -> None:
        given_to(name, tmp_path / "text", text.encode("utf-8", "surrogatepass"))

    any_text()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_mutations_change_what_they_are_given(mutation: object) -> None:
    content = b"a: [1, 2.5]\nb: xyz\n" * 5
    changed = {mutation(content, random.Random(i), [b"other 1\n"]) for i in range(8)}  # type: ignore[operator]
    assert len(changed) > 1


def fail() -> None:
    raise DataError("it is broken", remedy="mend it")


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: None, "done"),
        (fail, "own error"),
        (lambda: [][1], "traceback"),
        (lambda: sys.exit(3), "own error"),
        (lambda: bytearray(2**31), "memory"),
        (lambda: sum(1 for _ in iter(int, 1)), "hang"),
        (lambda: time.sleep(60), "hang"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed"),
    ],
    ids=["done", "own error", "traceback", "exit code", "memory", "computes for ever", "waits for ever", "dies"],
)
def test_a_child_with_limits(work: object, kind: str) -> None:
    outcome = tried(work, Bounds(cpu_s=1, memory_gib=1, wall_s=5 if kind != "hang" else 8))  # type: ignore[arg-type]
    assert outcome.kind == kind
    assert outcome.is_fault == (kind not in ("done", "own error"))


def test_the_largest_memory_of_a_child_is_told() -> None:
    held = bytearray(b"x" * 2**26)  # what the parent holds is not counted
    outcome = tried(lambda: len(bytearray(b"x" * 2**27)))
    assert len(held) == 2**26 and 200 < outcome.memory_mib < 400


def test_a_workbook_whose_beginning_is_gone_is_a_sentence(tmp_path: Path) -> None:
    """Its parts then lie before its beginning."""
    (content,) = (seed.content for seed in SURFACES["tables"].seeds() if seed.name == "a.xlsx")
    path = tmp_path / "a.xlsx"
    path.write_bytes(content[:4] + content[24:])
    with pytest.raises(DataError, match="the workbook is broken"):
        SURFACES["tables"].call(path)


@pytest.mark.parametrize("text", [b'"' * 2**24, b'["' + b'","' * 2**23, b"{" * 2**24, b'"\\"' * 2**22])
def test_json_of_quotation_marks_takes_little_memory_before_it_is_refused(text: bytes) -> None:
    outcome = tried(lambda: parse_json(text), Bounds(memory_gib=0.6))
    assert "MemoryError" not in outcome.told
    assert outcome.kind == "own error" or "ValueError" in outcome.told or "JSONDecodeError" in outcome.told
