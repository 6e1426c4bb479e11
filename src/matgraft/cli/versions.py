"""``matgraft --version``: what a report of a fault has to name. Nothing is imported for it."""

from __future__ import annotations

import platform
from importlib import metadata

import typer

from matgraft.core.version import __version__

BESIDE = ("torch", "chgnet", "mace-torch", "matgl", "ase", "pymatgen", "scikit-learn", "numpy")
"""Packages whose versions decide what comes out."""


def print_version(asked: bool | None) -> None:
    """Print the versions and leave, where that is asked for."""
    if asked:
        print(f"matgraft {__version__}")
        print(f"{platform.python_implementation()} {platform.python_version()}, {platform.platform(terse=True)}")
        print(", ".join(_version(name) for name in BESIDE))
        if others := _of_others():
            print(f"other packages: {', '.join(others)}")
        raise typer.Exit


def _of_others() -> list[str]:
    """Return what other packages add: ``lab-potential 1.0 (backbone lab, check melting)``."""
    from matgraft.core.plugins import GROUPS, plugins_of

    added: dict[str, list[str]] = {}
    for one in (plugin for group in GROUPS for plugin in plugins_of(group)):
        added.setdefault(f"{one.package} {one.version}", []).append(f"{one.kind} {one.name}")
    return [f"{package} ({', '.join(names)})" for package, names in added.items()]


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"{package} not installed"
