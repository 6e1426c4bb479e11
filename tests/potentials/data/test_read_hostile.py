"""Files that were made to run code, or to take all memory or time: each is a sentence."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import inspect
import json
import lzma
import re
import signal
import sys
import time

import pytest
from ase.build import bulk
from ase.io import write
from ase.io.formats import ioformats

from matgraft.core.errors import DataError
from matgraft.core.texts import refuse_doctype
from matgraft.potentials.data.reading.formats import output
from matgraft.potentials.data.reading.formats.ase_files import _LONG_LINES, _READ, _images
from matgraft.potentials.data.reading.formats.base import FileHead
from matgraft.potentials.data.reading.formats.registry import FORMATS
from matgraft.potentials.data.reading.formats.vasp import outcar, outcar_header
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


@pytest.mark.parametrize("fill", ["\n", " ", " \n", "1", "1 ", "a", "-", "*", "(", "=", "\t", "1."], ids=repr)
def test_every_format_looks_at_a_long_head_in_linear_time(tmp_path, fill):
    (tmp_path / "a.out").write_text(fill * (2**16 // len(fill)))
    head = FileHead(tmp_path / "a.out")
    assert head.text
    began = time.process_time()
    for form in FORMATS:
        form.recognises(head)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("unit", [" ", "1", "1 ", "a", "a ", ".", "*", "-", "= ", "("])
def test_the_patterns_of_numbers_are_linear(unit):
    line = unit * (20_000 // len(unit)) + "!"
    began = time.process_time()
    for pattern in (output._NUMBER, outcar._NUMBER, outcar_header._A_NUMBER, outcar_header._TAG):
        text = line.encode() if isinstance(pattern.pattern, bytes) else line
        pattern.match(text)
        pattern.findall(text)
    assert time.process_time() - began < 1


def test_blanks_behind_the_ions_of_an_outcar_end():
    lines = ["   ions per type =              2", "1" * 5_000 + " " * 5_000 + "x", " " * 100_000]
    began = time.process_time()
    assert outcar_header._continued_lines(lines, 0) == []
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("root", ["modeling", "qes:espresso"])
def test_entities_of_xml_are_refused_wherever_they_are_declared(tmp_path, root, encoding):
    bomb = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "x" * 99}">' for n in range(9))
    xml = f'<?xml version="1.0" encoding="{encoding}"?><!--{" " * 80_000}--><!DOCTYPE a [{bomb}]><{root}>&a8;</{root}>'
    (tmp_path / "vasprun.xml").write_text(xml, encoding=encoding)
    with pytest.raises(DataError, match="DOCTYPE"):
        refuse_doctype(tmp_path / "vasprun.xml", "vasprun.xml", "VASP")
    refused(tmp_path / "vasprun.xml")


@pytest.mark.parametrize(
    "content", ["<a>" * 50_000, "<modeling><generator>" + "<separator>" * 20_000, "<modeling>" + "<calculation>" * 9]
)
def test_deep_xml_is_a_sentence(tmp_path, content):
    (tmp_path / "vasprun.xml").write_text(f'<?xml version="1.0"?>{content}')
    refused(tmp_path / "vasprun.xml")


@pytest.mark.parametrize(
    ("name", "pack"), [("a.extxyz.gz", gzip.compress), ("OUTCAR.bz2", bz2.compress), ("a.json.xz", lzma.compress)]
)
def test_packed_bombs_end_in_every_reader(tmp_path, monkeypatch, name, pack):
    monkeypatch.setattr("matgraft.core.unpack.FREE", 2**20)
    start = {"a": b"1\nenergy=-1\n", "O": b" vasp.6.4.1  executed on x\n POTCAR: x\n INCAR:\n", "j": b""}
    (tmp_path / name).write_bytes(pack(start[name[0]] + b" " * 2**24))
    refused(tmp_path / name, match="packed_ratio")


def test_a_reader_of_ase_that_never_ends_is_ended(tmp_path, monkeypatch):
    def endless(*_, **__):
        while True:
            with contextlib.suppress(Exception):  # as readers of ASE do
                re.match("(a|aa)+$", "a" * 40 + "b")
        yield

    monkeypatch.setattr("matgraft.potentials.data.reading.formats.ase_files.iread", endless)
    monkeypatch.setenv("MATGRAFT_LIMITS", "parser_seconds=1")
    (tmp_path / "a.cif").write_bytes(b"data_a\n")
    handler = signal.getsignal(signal.SIGVTALRM)
    refused(tmp_path / "a.cif", match=r"reader of cif does not come to an end.*parser_seconds")
    assert signal.getsignal(signal.SIGVTALRM) == handler and signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_a_frame_with_a_hundred_thousand_keys_is_told_in_few_words(tmp_path):
    keys = " ".join(f"k{i}={i}" for i in range(20_000))
    (tmp_path / "a.extxyz").write_text(f"1\nProperties=species:S:1:pos:R:3 {keys}\nSi 0 0 0\n")
    with pytest.raises(DataError, match="no frame has energy under a known name; the keys are k0, ") as told:
        read(tmp_path / "a.extxyz")
    assert len(str(told.value)) < 2_000


TEXTS = [form for form in sorted(_READ - {"db", "json", "extxyz", "cp2k-dcd", "traj"}) if form not in _LONG_LINES]


@pytest.mark.parametrize("form", TEXTS)
def test_a_line_that_a_pattern_would_be_sought_in_for_ever_is_refused(tmp_path, form, monkeypatch):
    """ASE's reader of .res took 17 s for a line of 40 kB; the others are asked the same."""
    (tmp_path / "a.res").write_text("TITL " + "1 " * 20_000 + "\nEND\n")
    began = time.process_time()
    with pytest.raises(DataError) as told:
        list(_images(tmp_path / "a.res", form, "a.res"))
    assert time.process_time() - began < 2
    if form in ("res", "cif", "aims", "struct", "gen", "castep-geom", "vasp", "espresso-in"):
        assert "output_line_bytes" in str(told.value)


def test_a_longer_line_is_read_where_the_limit_is_raised(tmp_path, monkeypatch):
    write(tmp_path / "a.cif", bulk("Si"))
    (tmp_path / "a.cif").write_text((tmp_path / "a.cif").read_text() + "# " + "-" * 12_000 + "\n")
    refused(tmp_path / "a.cif", match="output_line_bytes")
    monkeypatch.setenv("MATGRAFT_LIMITS", "output_line_bytes=20K")
    assert len(read(tmp_path / "a.cif", want=())) == 1
