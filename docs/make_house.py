"""Draw the house: writes the picture in docs/architecture.md from the imports of the code.

    python docs/make_house.py

A room is a folder, or a file that lies beside folders. An arrow leads from a room to one that it imports; where a way
over other rooms leads there as well, the arrow is left out. A test fails while the picture is not what this draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import grimp

PAGE = Path(__file__).with_name("architecture.md")
PACKAGE = "matgraft"
WINGS = ("cli", "potentials", "formulas", "core")
BEGIN, END = "```mermaid\n", "```\n"

Rooms = Mapping[str, set[str]]
"""Room -> the rooms that it imports."""


def rooms() -> Rooms:
    """Return every room of the wings with the rooms that it imports."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in sorted(graph.modules):
        room = room_of(module)
        if room is None:
            continue
        above = found.setdefault(room, set())
        imported = (room_of(other) for other in graph.find_modules_directly_imported_by(module))
        above.update(other for other in imported if other not in (None, room))
    return found


def room_of(module: str) -> str | None:
    """Return a module's room: ``potentials.data`` for ``matgraft.potentials.data.order``; None outside the wings."""
    _, *parts = module.split(".")
    if not parts or parts[0] not in WINGS:
        return None
    return "cli" if parts[0] == "cli" else ".".join(parts[:2]) if len(parts) > 1 else None


def reduced(house: Rooms) -> Iterator[tuple[str, str]]:
    """Yield the arrows that no way over other rooms replaces."""
    for room, below in house.items():
        further = {far for near in below for far in reached(house, near)}
        yield from ((room, other) for other in sorted(below - further))


def reached(house: Rooms, room: str) -> set[str]:
    """Return all rooms that a room's imports lead to."""
    seen: set[str] = set()
    ahead = list(house.get(room, ()))
    while ahead:
        if (one := ahead.pop()) not in seen:
            seen.add(one)
            ahead += house.get(one, ())
    return seen


def picture(house: Rooms) -> str:
    """Return the house as a Mermaid graph, a frame a wing."""
    lines = ["graph TD"]
    for wing in WINGS:
        inside = [room for room in house if room.partition(".")[0] == wing]
        lines += [f"  subgraph {wing}", *(f"    {name(room)}[{room.rpartition('.')[2]}]" for room in inside), "  end"]
    lines += [f"  {name(room)} --> {name(other)}" for room, other in shown(house)]
    return "\n".join(lines) + "\n"


def shown(house: Rooms) -> Iterable[tuple[str, str]]:
    """Return the arrows inside a wing, and one from a wing to each other wing that it imports."""
    arrows, between = [], set()
    for room, other in reduced(house):
        wings = room.partition(".")[0], other.partition(".")[0]
        if wings[0] == wings[1]:
            arrows.append((room, other))
        else:
            between.add(wings)
    return [*arrows, *sorted(between)]


def name(room: str) -> str:
    """Return a room's name as Mermaid takes it."""
    return room.replace(".", "_")


def page(text: str, drawn: str) -> str:
    """Return the page with the picture in its place."""
    start = text.index(BEGIN) + len(BEGIN)
    return text[:start] + drawn + text[text.index(END, start) :]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), picture(rooms())), encoding="utf-8")
