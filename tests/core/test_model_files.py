"""What a file given as a model is: told by its content, without unpickling."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from matgraft.core.errors import DataError, OptionError
from matgraft.core.model_files import recognise
from matgraft.foundations import load

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 33412608\n"
STATE = {"interactions.0.conv_tp.weight": torch.ones(2), "products.0.linear.weight": torch.ones(3)}


def torch_bytes(content: Any, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def zipped(**files: bytes) -> bytes:
    """Return a zip; a name's two underscores stand for the slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__S", "/").replace("__D", "."), content)
    return buffer.getvalue()


def pickled(name: str) -> bytes:
    """Return a torch file that holds an object of a class that need not exist."""
    module, _, last = name.rpartition(".")
    return zipped(archive__Sdata__Dpkl=f"\x80\x02c{module}\n{last}\n)\x81.".encode("latin-1"))


class Other:
    """A class that torch does not open by itself."""


SAFE = save({"a": torch.ones(3)})
WHOLE = torch_bytes(STATE)
NQX = json.dumps({"cutoff": 6.0, "atomic_numbers": [1] * 3000}).encode() + b"\n\x93NUMPY\x01\x00" + bytes(200)
TORCHSCRIPT = zipped(
    m__Sdata__Dpkl=b"\x80\x02.", m__Sconstants__Dpkl=b"\x80\x02.", m__Scode__S__torch____Smace__Dpy=b"x"
)
FOR_LAMMPS = zipped(m__Sdata__Dpkl=b"", m__Scode__S__torch____Smace__Scalculators__Slammps_mace__Dpy=b"x")
LIGHTNING = torch_bytes({"pytorch-lightning_version": "2.5", "state_dict": STATE, "hyper_parameters": {}})
KINDS: list[tuple[bytes, str, str]] = [
    (POINTER, "Git LFS pointer", "git lfs pull"),
    (b"\n<!DOCTYPE html><html lang=en>", "web page", "raw file"),
    (b"<html><head>404</head>", "web page", "raw file"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML file", "raw file"),
    (b'{"error":"Invalid credentials"}', "text file with JSON", "again"),
    (b"Entry not found", "answer of a server that has no such file: 'Entry not found'", "the file itself"),
    (b"404: Not Found\n", "'404: Not Found'", "the file itself"),
    (b"\xef\xbb\xbf" + POINTER, "Git LFS pointer", "git lfs pull"),
    (b"# a recipe\nfit:\n", "text file that begins with '# a recipe'", ""),
    ("Für später".encode("latin-1"), "line of text", ""),
    (b"", "empty file", "again"),
    (WHOLE[:-40], "torch or zip file whose end is missing", "again"),
    (WHOLE[:70], "torch or zip file whose end is missing", "again"),
    (torch_bytes(STATE, zipped=False)[:150], "pickle whose end is missing", "again"),
    (WHOLE, "state dict of mace-torch", "load these weights"),
    (torch_bytes({"state_dict": STATE, "epoch": 3}), "state dict of mace-torch", "load these weights"),
    (torch_bytes(STATE, zipped=False), "state dict of mace-torch", "load these weights"),
    (torch_bytes({"model": STATE, "optimizer": {}, "lr_scheduler": {}}), "training checkpoint of mace", ".model"),
    (
        torch_bytes({"state": {}, "weights": [], "optimizer": {}}),
        "checkpoint of a fit by matgraft",
        "folder of the run",
    ),
    (torch_bytes({"config": {"cutoff": 5}, "model_name": "x"}), "torch file with config, model_name", ""),
    (torch_bytes(torch.ones(3)), "torch file with a Tensor alone", ""),
    (torch_bytes({"loss": Other()}), "holds a Other of", ""),
    (
        torch_bytes({"model": STATE, "loss": np.float64(0.1)}),
        "also holds numpy._core.multiarray.scalar",
        "save it again",
    ),
    (LIGHTNING, "checkpoint of Lightning", "model.save"),
    (TORCHSCRIPT, "TorchScript (JIT) program of mace", "made from"),
    (FOR_LAMMPS, "TorchScript (JIT) program of mace, written for LAMMPS", "made from"),
    (pickled("mace.calculators.lammps_mliap_mace.LAMMPS_MLIAP_MACE"), "of mace, written for LAMMPS", "made from"),
    (pickled("chgnet.model.model.CHGNet"), "holds a CHGNet of chgnet", "model.as_dict()"),
    (pickled("matgl.apps.pes.Potential"), "holds a Potential of matgl", "potential.save"),
    (pickled("torch.nn.modules.linear.Linear"), "holds a Linear of torch", ""),
    (pickle.dumps(Other()), "holds a Other of", ""),
    (zipped(my__Smodel__Djson=b"{}", my__Smodel__Dpt=b"", my__Sstate__Dpt=b""), "zipped folder of MatGL", "unzip"),
    (zipped(a__Dtxt=b"1"), "zip archive with a.txt", "unpack"),
    (zipped(p__Sextern_modules=b""), "torch.package", "made from"),
    (zipped(p__Sarchive_format=b"pt2"), "torch.export", "made from"),
    (SAFE, "safetensors file: weights without", "load these weights"),
    (SAFE[:-4], "safetensors file whose end is missing", "again"),
    (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80\x01", "ONNX file", "made from"),
    (b"\x1f\x8b\x08\x00abc", "compressed by gzip", "decompress"),
    (b"\x89HDF\r\n\x1a\nabc", "HDF5", ""),
    (b"\x93NUMPY\x01", "numpy", ""),
    (bytes(257) + b"ustar", "tar archive", "unpack"),
    (b"\x07\x00\x9c\xff" * 30, "binary file", ""),
]


@pytest.mark.parametrize(("content", "what", "remedy"), KINDS, ids=[f"{i}" for i in range(len(KINDS))])
def test_what_no_backbone_opens_is_named_and_refused(tmp_path: Path, content: bytes, what: str, remedy: str) -> None:
    file = tmp_path / "my.model"
    file.write_bytes(content)
    for name in (f"composition:{file}", str(file)):
        with pytest.raises(DataError) as refused:
            load(name)
        assert what in refused.value.found
        assert remedy in refused.value.remedy
        assert refused.value.where == str(file)
        assert refused.value.exit_code == 3
        assert "weights_only" not in str(refused.value)
        assert not refused.value.options
    assert what in recognise(file).what


def test_a_file_of_another_family_is_offered_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "my.model"
    for content, name in (
        (pickled("mace.modules.models.ScaleShiftMACE"), f"mace:{file}"),
        (torch_bytes({"architecture": {}, "state": {}, "references": 0, "head": ""}), f"mace:{file}"),
        (torch_bytes({"model": {"state_dict": {}, "model_args": {}}, "optimizer": {}}), f"chgnet:{file}"),
        (NQX, f"nequix:{file}"),
    ):
        file.write_bytes(content)
        for typed in (str(file), f"composition:{file}"):
            with pytest.raises(DataError) as refused:
                load(typed)
            assert refused.value.options == ({"foundation": name},)
    assert "not what composition opens" in refused.value.found
    assert "config.json" in refused.value.allowed[0]


def test_folders(tmp_path: Path) -> None:
    def found(typed: str) -> DataError:
        with pytest.raises(DataError) as refused:
            load(typed)
        return refused.value

    folder = tmp_path / "m"
    folder.mkdir()
    assert "an empty folder" in found(f"chgnet:{folder}").found
    for name in ("model.json", "model.pt", "state.pt"):
        (folder / name).write_bytes(POINTER)
    for typed in (f"chgnet:{folder}", str(folder)):
        assert found(typed).options == ({"foundation": f"matgl:{folder}"},)
    (folder / "state.pt").write_bytes(WHOLE)
    for backbone in ("chgnet", "matgl"):
        assert found(f"{backbone}:{folder / 'state.pt'}").options == ({"foundation": f"matgl:{folder}"},)
    (folder / "model.json").unlink()
    assert "a folder of MatGL without model.json" in found(f"chgnet:{folder}").found
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "card.json").write_text("{}")
    assert found(f"chgnet:{run}").options == ({"foundation": str(run)},)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").touch()
    assert "a folder with a.txt" in found(str(tmp_path / "other")).found


def test_a_path_that_is_not_there_is_told_as_a_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file(.|\n)*mace:PATH"):
        load(str(tmp_path / "none.model"))
    with pytest.raises(DataError, match="no such folder"):
        load(str(tmp_path / "none"))
    with pytest.raises(OptionError, match="unknown"):
        load("none")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "owned"),)

    for content in (torch_bytes(Evil()), torch_bytes({"model": Evil()}, zipped=False), pickle.dumps(Evil())):
        (tmp_path / "evil.model").write_bytes(content)
        recognise(tmp_path / "evil.model")
    assert not (tmp_path / "owned").exists()


@settings(max_examples=60, deadline=None)
@given(
    whole=st.sampled_from([NQX, *(content for content, _, _ in KINDS)]),
    cut=st.integers(0, 600),
    tail=st.binary(max_size=40),
)
def test_any_bytes_are_something(tmp_path_factory: pytest.TempPathFactory, whole: bytes, cut: int, tail: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "my.model"
    file.write_bytes(whole[:cut] + tail)
    assert recognise(file).what


def test_real_files_are_recognised(shared: Path) -> None:
    models = shared / "models"
    for file in (models / "mace").glob("*.model"):
        assert recognise(file).name == f"mace:{file}"
    for file in (models / "nequix").glob("*.nqx"):
        assert recognise(file).name == f"nequix:{file}"
    folder = models / "M3GNet-MatPES-PBE-v2025.1-PES"
    assert recognise(folder).name == f"matgl:{folder}"
    assert recognise(folder / "state.pt").name == f"matgl:{folder}"
    assert "Git LFS pointer" in recognise(shared / "data" / "cases" / "frames" / "m01_lfs_pointer.model").what
