"""What other packages add by entry points: the package of docs/plugins.md, as pip leaves it, and broken ones."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import chgnet
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from matgraft import foundations
from matgraft.cli import app
from matgraft.core.errors import DataError, OptionError
from matgraft.core.plugins import plugins_of
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.suite import SUITE, chosen_checks
from matgraft.potentials.models.registry import load_potential, names_model
from matgraft.potentials.run import CheckQuestion, check

PAGE = Path(__file__).parents[2] / "docs/plugins.md"
WEIGHTS = Path(chgnet.__file__).parent / "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar"


def install(site: Path, name: str, groups: dict[str, dict[str, str]], modules: dict[str, str]) -> None:
    """Leave a distribution as pip does: modules, and metadata beside them."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, of in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in of.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("lab_potential", "bad", "fails"):
        sys.modules.pop(name, None)


@pytest.fixture
def lab(site: Path) -> Path:
    """The package that the page shows, word by word."""
    text = PAGE.read_text()
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    install(site, "lab-potential", tomllib.loads(project)["project"]["entry-points"], {"lab_potential": code})
    shutil.copy(WEIGHTS, site / "chgnet.pth.tar")
    return site


def test_the_package_of_the_page(lab: Path, tmp_path: Path) -> None:
    assert names_model("lab")
    assert names_model("lab:2026")
    assert "lab" in foundations.BACKBONES
    assert "lab_potential" not in sys.modules  # names alone are read
    assert load_potential("lab").card.name == "lab:2026"
    structure = tmp_path / "Si.cif"
    bulk("Si", a=5.3).write(structure)
    checked = check(
        "lab", CheckQuestion((structure,), out=tmp_path / "out"), CheckSettings(only=("pressure",)), quiet=True
    )
    (finding,) = checked.findings
    assert (finding.code, finding.outcome, finding.measures[0].unit) == ("pressure", "failed", "GPa")


def test_a_check_of_another_package_runs_only_where_it_is_named(lab: Path) -> None:
    assert [one.code for one in chosen_checks(CheckSettings(suite="full"))] == [one.code for one in SUITE]
    assert [one.code for one in chosen_checks(CheckSettings(only=("nve", "pressure")))] == ["nve", "pressure"]
    with pytest.raises(OptionError, match="did you mean 'pressure'"):
        chosen_checks(CheckSettings(only=("pressur",)))


def test_version_and_list_name_the_package_and_import_nothing(lab: Path) -> None:
    said = CliRunner().invoke(app, ["--version"]).stdout
    assert "other packages: lab-potential 1.0 (backbone lab, check pressure)" in said
    assert (
        "lab (of the package lab-potential 1.0; imported when it is named)"
        in CliRunner().invoke(app, ["backbones"]).stdout
    )
    assert '"package": "lab-potential"' in CliRunner().invoke(app, ["backbones", "--json"]).stdout.replace(
        '":"', '": "'
    )
    assert "lab_potential" not in sys.modules


BROKEN = {
    "absent:ROW": "backbone bad of the package bad 1.0: cannot be imported from absent:ROW (ModuleNotFoundError",
    "bad:ABSENT": "cannot be imported from bad:ABSENT (AttributeError",
    "bad:raises": "bad:raises is a function, and BackboneRow is needed",
    "bad:Wrong": "bad:Wrong is Wrong, and BackboneRow is needed",
    "fails:ROW": "cannot be imported from fails:ROW (ZeroDivisionError: division by zero)",
}


@pytest.mark.parametrize("value", BROKEN)
def test_a_broken_package_is_a_sentence(site: Path, value: str) -> None:
    modules = {"bad": "def raises(): ...\nclass Wrong: ...\n", "fails": "1 / 0\n"}
    install(site, "bad", {"matgraft.backbones": {"bad": value}}, modules)
    with pytest.raises(OptionError, match=re.escape(BROKEN[value])):
        load_potential("bad")
    assert load_potential("chgnet").card.backbone == "chgnet"
    assert "bad (of the package bad 1.0" in CliRunner().invoke(app, ["backbones"]).stdout


def test_own_names_stay_and_two_packages_of_one_name_are_refused(site: Path) -> None:
    for name in ("one", "two"):
        row = {"chgnet": "absent:ROW", "same": f"{name}:ROW"}
        install(site, name, {"matgraft.backbones": row}, {})
    assert load_potential("chgnet").card.vendor_version
    with pytest.raises(OptionError, match=r"2 packages add the backbone 'same': one 1\.0 and two 1\.0"):
        load_potential("same")
    assert [one.name for one in plugins_of("matgraft.backbones")] == ["chgnet", "chgnet", "same", "same"]


def test_a_check_has_the_name_of_its_entry_point(lab: Path, site: Path) -> None:
    install(site, "other", {"matgraft.checks": {"load": "lab_potential:PressureCheck"}}, {})
    with pytest.raises(OptionError, match="its code is 'pressure'"):
        chosen_checks(CheckSettings(only=("load",)))


def test_files_that_stand_for_another_are_refused_for_every_package(lab: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="a Git LFS pointer"):
        load_potential(f"lab:{file}")
    shutil.copy(WEIGHTS, file)
    assert load_potential(f"lab:{file}").card.n_parameters > 0


def test_a_model_of_a_package_that_is_gone_says_so(tmp_path: Path) -> None:
    from matgraft.core.registry import CARD, load_from, save_folder
    from matgraft.potentials.models.registry import POTENTIALS

    model = load_potential("chgnet")
    save_folder(model, tmp_path / "m", lambda card: card.model_copy(update={"backbone": "gone"}))
    assert CARD.read(tmp_path / "m").backbone == "gone"
    with pytest.raises(OptionError, match="install the package that adds 'gone'"):
        load_from(POTENTIALS, tmp_path / "m")
