"""YAML and JSON of strangers: plain data, bounded work."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.texts import parse_json, parse_json_lines, parse_value, parse_yaml

TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
DEEP = (
    "[" * 10_000,
    "[" * 100_000 + "]" * 100_000,
    "{a: " * 10_000 + "1" + "}" * 10_000,
    "- " * 10_000 + "1",
    "".join(" " * n + "a:\n" for n in range(1_500)),
    "? " * 10_000,
)
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@settings(max_examples=30)
@given(PLAIN)
def test_what_is_written_is_read_back(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode("utf-16")) == value
    assert parse_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


@pytest.mark.parametrize("text", DEEP, ids=lambda text: text[:4].strip())
def test_a_deep_text_is_a_sentence_with_the_limit_and_how_to_raise_it(text):
    with pytest.raises(DataError, match=r"at most 100 \(nesting\).*\nremedy: .*MATGRAFT_LIMITS=nesting="):
        parse_yaml(text, "t.yaml")


@pytest.mark.parametrize("text", ["[" * 10_000, '{"a":' * 10_000, '["\\"]",' + "[" * 500 + "]" * 501])
def test_deep_json_is_a_sentence(text):
    for form in (text, text.encode(), text.encode("utf-16")):
        with pytest.raises(DataError, match=r"deep; at most 100 \(nesting\)"):
            parse_json(form, "t.json")


def test_brackets_in_texts_are_no_depth():
    value = {"a" * 3 + '"[[{' * 200: ["\\", '\\"', "]" * 300, "[" * 300]}
    assert parse_json(json.dumps(value)) == value


def test_the_limits_are_raised_by_a_variable(monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "nesting=600,yaml_bytes=8M")
    assert parse_yaml("[" * 300 + "]" * 300)
    assert parse_json("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "its aliases stand for"),
        ("".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(150)), "more than 100 deep"),
        ("a: 1\n" * 1_000_000, "bytes of YAML; at most 4,194,304"),
    ],
    ids=["laughs", "chain", "long"],
)
def test_aliases_and_length_are_bounded(text, said):
    began = time.process_time()
    with pytest.raises(DataError, match=said):
        parse_yaml(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        "[1", "&a [*a]", "9" * 5_000, "2001-99-99", "? [1]\n: 2", "a: b: c", "\x00",
        "!!python/object/apply:os.system ['true']", "{9223372036854775807000: 1}", "*a", "!!int x", "!!set [1]",
        "!!timestamp x", "<<: 1", "!!omap {a: 1}",
    ],
)  # fmt: skip
def test_what_is_no_plain_data_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_yaml(text)


def test_aliases_that_are_few_are_read():
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: *x}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


@pytest.mark.parametrize("text", ["1" * 5_000, "[1", b"\xff\xfe\x00", b"\x80", "nul", '{"a": 1} {"b": 2}'])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_lines_of_json_are_read_and_named():
    assert list(parse_json_lines(b'{"a": 1}\n\n[2]\n')) == [(1, {"a": 1}), (3, [2])]
    with pytest.raises(ValueError, match="line 2 is not valid JSON"):
        list(parse_json_lines(b"1\n2 3\n"))


def test_a_number_of_an_option_needs_no_point():
    assert parse_value("1e-3") == 1e-3
    assert parse_value("'1e-3'") == "1e-3"


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, a: 1}", "x:\n  1: a\n  1: b\n", '"a": 1\na: 2\n'])
def test_a_key_that_is_given_twice_is_refused(text: str) -> None:
    """YAML's parser takes the last one without a word."""
    with pytest.raises(ValueError, match="is given twice"):
        parse_yaml(text)


def test_what_is_merged_may_be_said_otherwise() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\nd: {x: 1, y: 1}\n"
    assert parse_yaml(text) == {
        "a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 3, "y": 4}, "d": {"x": 1, "y": 1}
    }  # fmt: skip
