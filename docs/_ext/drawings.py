"""Drawings that are made of the code, so that they can't be out of date.

``.. rooms::`` draws the rooms and their imports, ``.. states::`` the state machine as the table in
``_protocol/closing.py`` has it, ``.. errors::`` the tree of the exceptions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import trio_wsclient
from trio_wsclient._protocol import closing

ROOT = Path(__file__).parent.parent.parent

WIDTH = 720  # units of the drawing, which is as wide as the text
LINE = 18
LETTER = 7.3  # of the monospaced font
MARGIN = 10


class Drawing:
    """An SVG that grows downwards."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self.height = 0.0

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        self._parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'
        )
        self.height = max(self.height, y + height)

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        self._parts.append(f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>')
        self.height = max(self.height, y)

    def line(self, *points: tuple[float, float], kind: str = "arrow") -> None:
        path = " L".join(f"{x},{y}" for x, y in points)
        end = ' marker-end="url(#head)"' if kind == "arrow" else ""
        self._parts.append(f'<path class="{kind}" d="M{path}"{end}/>')
        self.height = max(self.height, *(y for _, y in points))

    def to_html(self) -> str:
        head = (
            '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker>'
        )
        return (
            f'<div class="drawing"><svg role="img" aria-label="{escape(self._title)}"'
            f' viewBox="0 0 {WIDTH} {self.height + 2:g}"><defs>{head}</defs>'
            f"{''.join(self._parts)}</svg></div>"
        )


def wrap(words: Iterable[str], width: float) -> list[str]:
    """Fill lines with words, as many as fit into a width."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and len(longer) * LETTER > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


# The rooms

PACKAGE = Path(trio_wsclient.__file__).parent
ROW = 22  # units of height


def rooms() -> list[str]:
    """Return the modules and folders of the package, the lowest first."""
    source = (ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS":
            found: list[str] = eval(ast.unparse(node.value), {"__builtins__": {}})  # noqa: S307 of our own tests
            return found
    raise LookupError("ROOMS")


def files_of(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imported_rooms(room: str) -> set[str]:
    """Return the rooms that a room imports from."""
    names = set()
    for path in files_of(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trio_wsclient"):
                name = (node.module or "").split(".")[1:2]
                names |= {*name} if name else {alias.name for alias in node.names}
    found = {name if name in rooms() else "__init__" for name in names}
    return found - {room}


def arrows() -> list[tuple[str, str]]:
    """Return the imports between rooms, without those that are implied by others."""
    below: dict[str, set[str]] = {}  # all that a room imports from, also by way of others
    drawn = []
    for room in rooms():
        direct = imported_rooms(room)
        implied = set[str]().union(*(below[other] for other in direct))
        below[room] = direct | implied
        drawn += [(room, other) for other in direct - implied]
    return sorted(drawn)


def draw_rooms() -> str:
    """Draw a row for each room, and an arc from each row to those that it imports from."""
    drawing = Drawing("The rooms of the package, and which imports from which")
    places = {room: ROW * number + MARGIN for number, room in enumerate(reversed(rooms()))}
    left = 200
    for room, y in places.items():
        files = [path.stem for path in files_of(room) if path.stem != "__init__"]
        drawing.text(left, y + 14, room, "title")
        if files and (PACKAGE / room).is_dir():
            drawing.text(left + 120, y + 14, " ".join(files), "code")
    for room, other in arrows():
        top, bottom = places[room] + ROW / 2, places[other] + ROW / 2
        x = left - MARGIN
        width = x - (bottom - top) / max(places.values()) * (x - MARGIN)
        drawing.line((x, top), (width, top), (width, bottom), (x, bottom))
    return drawing.to_html()


# The states

RULE = re.compile(r"^=+(?:  =+)+$", re.MULTILINE)


def states() -> list[list[str]]:
    """Return the rows of the table of states, each of its four cells in one line."""
    table = closing.__doc__ or ""
    rule, _, last = RULE.finditer(table)
    starts = [column.start() for column in re.finditer("=+", rule[0])]
    columns = [slice(*span) for span in zip(starts, [*starts[1:], None], strict=True)]
    rows: list[list[str]] = []
    for line in table[rule.end() : last.start()].splitlines()[3:]:
        cells = [line[column].strip() for column in columns]
        if cells[0]:
            rows.append(cells)
        else:  # The row before goes on.
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return rows


def draw_states() -> str:
    rows = [row[1:] for row in states() if row[0] == "CLOSING"]
    assert [row[0].strip("`") for row in rows] == [*closing.ClosedBy.__members__], rows
    drawing = Drawing("The states of a connection, and what leads from one to the next")
    width, middle, middle_width = 110, 190, 340
    right = WIDTH - 1 - width
    texts = [
        [
            *wrap(f"input: {reads}".split(), middle_width - 2 * MARGIN),
            *wrap(f"output: {writes}".split(), middle_width - 2 * MARGIN),
        ]
        for _, reads, writes in rows
    ]
    heights = [LINE * (len(lines) + 1) + MARGIN for lines in texts]
    height = 3 * LINE + MARGIN  # of the states beside them
    centre = (sum(heights) + LINE * (len(rows) - 1)) / 2
    for x, state, note in ((1, "OPEN", "messages both ways"), (right, "CLOSED", "the stream, too")):
        y = centre - height / 2
        drawing.box(x, y, width, height)
        drawing.text(x + MARGIN, y + LINE, state, "code")
        for number, line in enumerate(wrap(note.split(), width), 2):
            drawing.text(x + MARGIN, y + LINE * number, line, "small")
    y = 1.0
    for (closed_by, _, _), lines, height in zip(rows, texts, heights, strict=True):
        drawing.box(middle, y, middle_width, height)
        drawing.text(middle + MARGIN, y + LINE, f"CLOSING, {closed_by.strip('`')}", "code")
        for number, line in enumerate(lines, 2):
            drawing.text(middle + MARGIN, y + LINE * number, line, "small")
        drawing.line((1 + width, centre), (middle - 2, y + height / 2))
        drawing.line((middle + middle_width, y + height / 2), (right - 2, centre))
        y += height + LINE
    return drawing.to_html()


# The errors


def draw_errors() -> str:
    drawing = Drawing("The exceptions, each below its base")
    y = 0.0

    def draw(error: type, depth: int, above: float) -> None:
        nonlocal y
        y += LINE + MARGIN
        x = 1 + depth * 36
        others = [base.__name__ for base in error.__bases__ if base.__module__ != ours]
        text = error.__name__
        drawing.box(x, y - LINE, len(text) * LETTER + 2 * MARGIN, LINE + 6)
        drawing.text(x + MARGIN, y - 2, text, "code")
        also = [name for name in others if name != "Exception"]
        if also:
            drawing.text(
                x + len(text) * LETTER + 3 * MARGIN, y - 2, f"also {', '.join(also)}", "small"
            )
        if depth:
            drawing.line((x - 20, above), (x - 20, y - 6), (x, y - 6), kind="branch")
        top = y + 6
        for each in vars(trio_wsclient).values():
            if isinstance(each, type) and error in each.__bases__:
                draw(each, depth + 1, top)

    ours = trio_wsclient.WebSocketError.__module__
    draw(trio_wsclient.WebSocketError, 0, 0)
    drawing.height += 8
    return drawing.to_html()


class _Drawn(Directive):
    draw: ClassVar[Any]

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", type(self).draw(), format="html")]


class _Rooms(_Drawn):
    draw = staticmethod(draw_rooms)


class _States(_Drawn):
    draw = staticmethod(draw_states)


class _Errors(_Drawn):
    draw = staticmethod(draw_errors)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("rooms", _Rooms)
    app.add_directive("states", _States)
    app.add_directive("errors", _Errors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
