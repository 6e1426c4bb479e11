"""A calculator of somebody's own, by import path: ``my_package.my_module:make_calculator``.

The module is imported and the function called, with the keywords that are given for it: it is the user's own code.
Modules of the current folder are found as ``python -m`` finds them.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from matgraft.core.errors import OptionError

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
ALLOWED = ("a function that returns an ASE calculator, as my_package.my_module:make_calculator",)


def is_import_path(word: str) -> bool:
    """Say whether a word reads like ``module:function``."""
    return bool(_PATH.fullmatch(word))


@contextmanager
def from_here(folder: Path | None = None) -> Iterator[None]:
    """Find modules of a folder, the current one unless another is named, before all others."""
    here = str(folder or Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def calculator_maker(word: str, parameters: Mapping[str, Any] | None = None) -> Callable[[], Any]:
    """Return the function that an import path names; it is called once, to see that it makes a calculator.

    Parameters
    ----------
    parameters
        Keywords that the function is called with.

    Raises
    ------
    OptionError
        If the module cannot be imported, has no such function, or the function makes no ASE calculator.
    """
    module, _, name = word.partition(":")
    try:
        with from_here():
            make = partial(getattr(importlib.import_module(module), name), **(parameters or {}))
            made = make()
    except AttributeError as error:
        raise OptionError(f"{word!r}: {error}", allowed=ALLOWED) from error
    except ImportError as error:
        raise OptionError(f"{word!r}: the module cannot be imported: {error}", allowed=ALLOWED) from error
    except Exception as error:  # whatever somebody's own code raises
        raise OptionError(f"{word!r} raised {type(error).__name__}: {error}", allowed=ALLOWED) from error
    if not isinstance(made, BaseCalculator):
        raise OptionError(f"{word!r} makes a {type(made).__name__}, which is not an ASE calculator", allowed=ALLOWED)
    return make
