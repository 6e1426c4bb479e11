"""What is wrong with the options of a split, before and after it."""

from matgraft.core.errors import DataError, OptionError
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.splits.plan import Request

USES_GAP = {"auto", "blocks", "element"}


def check_options(request: Request) -> None:
    """Refuse options that contradict each other, or that the way of splitting does not read."""
    fractions = request.fractions
    if len(fractions) != 3 or min(fractions) < 0 or min(fractions[:2]) == 0 or abs(sum(fractions) - 1) > 1e-6:
        raise OptionError(
            f"fractions {fractions} are not shares of training, validation and test",
            allowed=["three numbers that add up to 1; only the test's may be 0"],
            options=[{"split.validation": 0.1, "split.test": 0.1}],
        )
    if len(request.dataset) == 0:
        raise DataError("there is nothing to split: the dataset is empty")
    if request.gap is not None and request.by not in USES_GAP:
        raise OptionError(
            f"gap={request.gap} does nothing with by={request.by!r}",
            allowed=sorted(USES_GAP),
            options=[{"split.gap": None}],
        )
    if request.gap is not None and request.gap < 0:
        raise OptionError(f"gap={request.gap} is negative", allowed=["0, which leaves no frame out, and more"])
    if request.hold and request.by == "element":
        raise OptionError(
            "hold and by='element' both make the test",
            options=[{"split.hold": f"element={request.element or 'Ge'}", "split.by": "auto", "split.element": None}],
        )
    if (request.element is not None) != (request.by == "element"):
        raise OptionError(
            f"element={request.element!r} does not go with by={request.by!r}",
            options=_elements_to_leave_out(request),
        )


def _elements_to_leave_out(request: Request) -> list[dict[str, str | None]]:
    """Return the options that put element and method together; of elements, those that not every group has."""
    if request.element is None:
        groups, dataset = find_groups(request.dataset).labels, request.dataset
        having = {
            symbol: {group for group, sample in zip(groups, dataset, strict=True) if symbol in sample.content.symbols}
            for symbol in dataset.elements()
        }
        return [{"split.element": symbol} for symbol, own in having.items() if own != set(groups)]
    return [{"split.by": "element"}, {"split.element": None}]


def check_filled(request: Request, parts: dict[str, tuple[int, ...]]) -> None:
    """Refuse a split that leaves a part empty."""
    empty = [name for name, fraction in request.parts if fraction > 0 and not parts[name]]
    if empty:
        raise DataError(
            f"no frame is left for {' and '.join(empty)}: {len(request.dataset)} frames, split by {request.by}",
            remedy="a smaller split.gap, a larger split.validation or split.test, or more frames",
        )
