"""Files that were made to run code, or to take all memory or time: each is a sentence."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import time

import pytest
from ase.build import bulk
from ase.io.formats import ioformats

from matgraft.core.errors import DataError
from matgraft.potentials.data.reading.formats.ase_files import _READ
from matgraft.potentials.data.reading.read import read

LATTICE = {"matrix": [[3.0, 0, 0], [0, 3, 0], [0, 0, 3]], "a": 3.0}
CALLS = {"@module": "this", "@class": "s"}
"""Importing `this` prints a poem."""


def site(**more):
    return {"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0], **more}


def records(**structure):
    whole = {"@module": "pymatgen.core.structure", "@class": "Structure", "lattice": LATTICE, "sites": [site()]}
    return json.dumps([{"structure": whole | structure, "outputs": {"energy": -1.0, "forces": [[0, 0, 0]]}}])


@pytest.mark.parametrize(
    "content",
    [
        records(sites=[site(properties={"magmom": 1.0, "x": CALLS})]),
        records(sites=[site(properties={"x": [{"deep": CALLS}]})]),
        records(lattice=LATTICE | CALLS),
        records(properties=CALLS, **CALLS),
        json.dumps([{"numbers": [14], "positions": [[0, 0, 0]], "energy": -1.0, "note": CALLS}]),
    ],
    ids=["site", "deep", "lattice", "structure", "record"],
)
def test_no_module_that_a_record_names_is_imported(tmp_path, content, capsys):
    (tmp_path / "a.json").write_text(content)
    sys.modules.pop("this", None)
    data = read(tmp_path / "a.json", want=("energy",))
    assert len(data) == 1 and str(data[0].content.symbols) == "Si"
    assert "this" not in sys.modules and "Zen" not in capsys.readouterr().out


def test_the_readers_of_ase_that_are_used_run_nothing():
    """A reader that evaluates, unpickles, imports by name or starts programs is not among those that are used."""
    runs = re.compile(r"\b(eval|exec|__import__|import_module|Popen|check_output|check_call)\(|pickle\.load|os\.system")
    assert ioformats.keys() >= _READ and {"bundletrajectory", "mysql", "postgresql", "gpw"}.isdisjoint(_READ)
    for name in _READ:
        module = importlib.import_module(ioformats[name].module_name)
        code = "\n".join(line for line in inspect.getsource(module).splitlines() if not line.lstrip().startswith("#"))
        assert not runs.search(code), name


@pytest.mark.parametrize("name", ["postgresql:x", "mysql:x", "a.bundle", "a.gpw"])
def test_a_name_leads_to_no_server_and_to_no_pickle(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "a.bundle":
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata.json").write_text("{}")
    else:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError):
        read(name)


def refused(path, *, seconds=5.0, match=None):
    began = time.process_time()
    with pytest.raises(DataError, match=match):
        read(path, want=())
    assert time.process_time() - began < seconds


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("1\nProperties=species:S:1:pos:R:3:x:R:1000000000\nSi 0 0 0\n", "columns"),
        ("1\nProperties='species:S:1:pos:R:3:x:R:1000000000' a='b c'\nSi 0 0 0\n", "columns"),
        ("1\nProperties=species:S:1:pos:R:3:x:R:" + "9" * 5_000 + "\nSi 0 0 0\n", "columns"),
        ("1\nProp\\erties=species:S:1:pos:R:3:x:S:1000000000 a={b}\nSi 0 0 0\n", "columns"),
        ("9" * 5_000 + "\n\nSi 0 0 0\n", "atoms"),
        ("1000000000\n\nSi 0 0 0\n", "1 of 1000000000 atoms"),
        ("1\nenergy=-1 a=\"_JSON " + "[" * 100_000 + "\"\nSi 0 0 0\n", None),
    ],
    ids=["columns", "quoted", "digits", "escaped", "atoms", "many", "json"],
)  # fmt: skip
def test_what_an_extxyz_header_asks_for_is_bounded(tmp_path, head, match):
    (tmp_path / "a.extxyz").write_text(head)
    refused(tmp_path / "a.extxyz", match=match)


def test_asks_json_takes_no_memory_for_what_is_not_there(tmp_path):
    row = {"numbers": {"__ndarray__": [[10**10], "int64", 1]}, "positions": [[0, 0, 0]]}
    (tmp_path / "a.json").write_text(json.dumps({"1": row, "ids": [1], "nextid": 2}))
    refused(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps([row]))
    refused(tmp_path / "b.json")


def test_a_count_in_a_poscar_takes_no_memory(tmp_path):
    bulk("Si").write(tmp_path / "POSCAR", format="vasp")
    text = (
        (tmp_path / "POSCAR")
        .read_text()
        .replace("\n 2\n", "\n 100000000000\n")
        .replace("\n   2\n", "\n 100000000000\n")
    )
    assert "100000000000" in text
    (tmp_path / "POSCAR").write_text(text)
    refused(tmp_path / "POSCAR", match="memory|cannot read")


@pytest.mark.parametrize("text", ['[{"structure": {"sites": [' * 40, "[" * 10_000, '[{"a": ' + "1" * 5_000 + "}]"])
def test_json_that_is_deep_or_long_is_a_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    refused(tmp_path / "a.json")
