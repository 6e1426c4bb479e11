"""Errors of estimators: ValueErrors, since tools of scikit-learn catch no others."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from matgraft.core.errors import DataError, MatgraftError, OptionError

Method = TypeVar("Method", bound=Callable[..., Any])
FACTS = ("where", "allowed", "remedy", "options", "commands", "causes")


class EstimatorDataError(DataError, ValueError):
    """The data cannot be used as they stand."""


class EstimatorOptionError(OptionError, ValueError):
    """A parameter of an estimator cannot be meant."""


def as_value_errors(method: Method) -> Method:
    """Raise deliberate errors as ValueErrors of the same kind."""

    @wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except (EstimatorDataError, EstimatorOptionError):
            raise
        except MatgraftError as error:
            kind = EstimatorOptionError if isinstance(error, OptionError) else EstimatorDataError
            raise kind(error.found, **{name: getattr(error, name) for name in FACTS}) from error

    return call  # type: ignore[return-value]
