"""The results as a picture: SVG, written by hand, for light and dark pages.

A group of bars for each workload, on a logarithmic scale. They begin at the client that all are
compared with: to the right is better than it, to the left is worse. A thin line is the spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from contenders import BASELINE, Contender
from results import Results
from summary import Cell, Row, measured_contenders
from table import format_figure, format_number

WIDTH = 860
LEFT = 235  # where the scale begins
RIGHT = WIDTH - 70  # where it ends
TOP = 62  # below the title
BAR = 10  # the height of one, with the gap to the next
GAP = 16  # between two groups
LINE = 18  # of the legend, and of the caption
LEGEND_WIDTH = 205  # of an entry
CAPTION_SIZE = 132  # characters in a line
LOWEST = 0.1  # ratio that the scale reaches down to; a bar of less has an arrow

LIGHT = {"ground": "#ffffff", "text": "#1f2328", "faint": "#59636e", "grid": "#e3e6ea"}
DARK = {"ground": "#0d1117", "text": "#e6edf3", "faint": "#9198a1", "grid": "#2a3139"}


@dataclass(frozen=True)
class Scale:
    """From ratios to places on the picture.

    Attributes:
        low: The ratio at the left end.
        high: That at the right one.
    """

    low: float
    high: float

    def place(self, ratio: float) -> float:
        ratio = max(ratio, self.low)
        part = math.log(ratio / self.low) / math.log(self.high / self.low)
        return LEFT + part * (RIGHT - LEFT)

    def ticks(self) -> list[float]:
        """Return round numbers on it: 1, 2, 5, 10 and so on."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        numbers = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [number for number in numbers if self.low <= number <= self.high]


def draw(results: Results, rows: list[Row]) -> str:
    """Return the picture, as an SVG document."""
    measured = measured_contenders(results)
    shown = [contender for contender in measured if contender is not BASELINE]
    scale = fit_scale(rows)
    legend, top = draw_legend(shown)
    bars, bottom = draw_groups(rows, shown, scale, top + LINE)
    caption, end = draw_caption(results, bottom + 2 * LINE)
    parts = [
        text(16, 28, f"Times better than {BASELINE.title}", "title"),
        text(16, 47, subtitle(results), "faint"),
        *legend,
        *draw_grid(scale, top, bottom),
        *bars,
        *caption,
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end:.0f}" '
        f'width="{WIDTH}" height="{end:.0f}" role="img" aria-labelledby="title">\n'
        f'<title id="title">Benchmarks: times better than {BASELINE.title}</title>'
    )
    ground = '<rect class="ground" width="100%" height="100%" rx="6"/>'
    return "\n".join([head, style(measured), ground, *parts, "</svg>"]) + "\n"


def subtitle(results: Results) -> str:
    count = results.rounds
    rounds = "one round"
    if count > 1:
        rounds = f"median of {count} rounds; thin line: smallest to largest"
    return f"more messages a second, less memory, less lateness; logarithmic; {rounds}"


def fit_scale(rows: list[Row]) -> Scale:
    """Return a scale with room for 1 and all ratios, except very low ones."""
    ratios = [ratio for row in rows for cell in row.cells.values() for ratio in cell.ratios]
    return Scale(max(min([0.7, *ratios]) * 0.85, LOWEST), max([1.5, *ratios]) * 1.15)


def draw_legend(shown: list[Contender]) -> tuple[list[str], float]:
    """Return the meaning of each colour, and where the legend ends."""
    parts = []
    columns = (WIDTH - 32) // LEGEND_WIDTH
    for number, contender in enumerate(shown):
        x = 16 + number % columns * LEGEND_WIDTH
        y = TOP + number // columns * LINE
        parts.append(f'<rect class="{colour(contender)}" x="{x}" y="{y}" width="11" height="11"/>')
        parts.append(text(x + 17, y + 10, contender.title))
    return parts, TOP + math.ceil(len(shown) / columns) * LINE + LINE


def draw_grid(scale: Scale, top: float, bottom: float) -> list[str]:
    parts = []
    for tick in scale.ticks():
        x = scale.place(tick)
        kind = "one" if tick == 1 else "grid"
        parts.append(f'<path class="{kind}" d="M{x:.1f} {top + 6:.1f}V{bottom:.1f}"/>')
        label = f"{tick:g}×"
        parts += [text(x, y, label, "faint middle") for y in (top, bottom + 14)]
    return parts


def draw_groups(
    rows: list[Row], shown: list[Contender], scale: Scale, y: float
) -> tuple[list[str], float]:
    """Return the bars of all workloads, and where they end."""
    parts = []
    for row in rows:
        height = BAR * len(shown)
        centre = y + height / 2
        parts.append(text(LEFT - 16, centre, row.workload.title, "end"))
        baseline = row.cells.get(BASELINE.title)
        if baseline is not None and baseline.figures:
            figure = f"1× is {format_figure(row.workload, baseline)}"
            parts.append(text(LEFT - 16, centre + 13, figure, "faint end"))
        for number, contender in enumerate(shown):
            cell = row.cells[contender.title]
            parts.extend(draw_bar(contender, cell, scale, y + number * BAR))
        y += height + GAP
    return parts, y


def draw_bar(contender: Contender, cell: Cell, scale: Scale, y: float) -> list[str]:
    """Return a bar with its number and spread, or a dash."""
    one = scale.place(1)
    if cell.ratio is None:
        return [text(one + 4, y + 8, "—", "number")]
    end = scale.place(cell.ratio)
    left, width = min(one, end), max(abs(end - one), 1)
    lowest, highest = scale.place(cell.ratios[0]), scale.place(cell.ratios[-1])
    middle = y + BAR / 2 - 0.5
    note = "*" if cell.problems else ""
    number = text(max(one, highest) + 4, y + 8, format_number(cell.ratio) + note, "number")
    bar = (
        f'<rect class="{colour(contender)}" x="{left:.1f}" y="{y:.1f}" '
        f'width="{width:.1f}" height="{BAR - 1}"/>'
    )
    spread = f'<path class="spread" d="M{lowest:.1f} {middle:.1f}H{highest:.1f}"/>'
    parts = [bar, spread, number]
    if cell.ratio < scale.low:
        parts.append(text(LEFT - 9, y + 8, "◂", "number"))
    return parts


def draw_caption(results: Results, y: float) -> tuple[list[str], float]:
    """Return the machine, the versions and the date, and where they end."""
    facts = [f"{name}: {value}" for name, value in results.machine.items()]
    facts.append("— or *: could not be measured, or not in all rounds; see the table")
    lines: list[str] = []
    for word in " · ".join(facts).split(" "):
        if not lines or len(lines[-1]) + len(word) >= CAPTION_SIZE:
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    parts = [
        text(16, y + number * LINE, content, "faint") for number, content in enumerate(lines, 1)
    ]
    return parts, y + (len(lines) + 1) * LINE


def text(x: float, y: float, content: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attribute}>{escape(content)}</text>'


def colour(contender: Contender) -> str:
    """Return the name of its class in the style sheet."""
    return "".join(letter for letter in contender.title if letter.isalpha())


def style(contenders: list[Contender]) -> str:
    """Return the style sheet; the page's reader says whether it is dark."""
    light = colours(LIGHT, {colour(each): each.colours[0] for each in contenders})
    dark = colours(DARK, {colour(each): each.colours[1] for each in contenders})
    return f"""<style>
text {{ font: 12px system-ui, "DejaVu Sans", sans-serif }}
.title {{ font-size: 18px; font-weight: 600 }}
.faint, .number {{ font-size: 11px }}
.number {{ font-size: 9px }}
.middle {{ text-anchor: middle }}
.end {{ text-anchor: end }}
path {{ stroke-width: 1 }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
</style>"""


def colours(ground: dict[str, str], bars: dict[str, str]) -> str:
    rules = [
        f".ground {{ fill: {ground['ground']} }}",
        f"text {{ fill: {ground['text']} }}",
        f".faint {{ fill: {ground['faint']} }}",
        f".grid {{ stroke: {ground['grid']} }}",
        f".one, .spread {{ stroke: {ground['text']} }}",
        *(f".{name} {{ fill: {value} }}" for name, value in bars.items()),
    ]
    return "\n".join(rules)
