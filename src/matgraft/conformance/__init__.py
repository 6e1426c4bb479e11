"""The conformance suite as a plugin of pytest: ``pytest --matgraft-backbone my_package:make``.

pytest imports this in every session where matgraft is installed, so nothing of matgraft is imported before it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SUITE = Path(__file__).with_name("suite.py")
OPTION = "--matgraft-backbone"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    group = parser.getgroup("matgraft")
    group.addoption(
        OPTION,
        metavar="NAME",
        help="hold a potential against matgraft's contract: a name that matgraft loads, or module:function",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Run the suite where a backbone is named; alone, unless paths are typed as well."""
    if config.getoption(OPTION) is not None:
        typed = config.args if config.args_source is config.ArgsSource.ARGS else []
        config.args = [*typed, str(SUITE)]
