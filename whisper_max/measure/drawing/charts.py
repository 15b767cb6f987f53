"""Charts of one row a thing, and maps of a matrix."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_max.measure.drawing.png import as_png, coloured
from whisper_max.measure.drawing.scales import Scale, linear, logarithmic, short, signed
from whisper_max.measure.drawing.svg import FONT, WIDTH, Drawing, label, line, rectangle

_LEFT, _RIGHT, _TOP, _BOTTOM = 250.0, 90.0, 50.0, 34.0  # pixels around what is drawn
_ROW = 20.0  # from one row to the next
_BAR = 13.0  # a bar in it
_PLOT = WIDTH - _LEFT - _RIGHT
_COLOURS = ("a", "b", "c")


@dataclass(frozen=True)
class Bar:
    """A row of ``bars``: parts that are put after each other, a mark to hold their sum against, and a word on it."""

    name: str
    parts: Sequence[float]
    mark: float | None = None
    note: str = ""


def bars(title: str, unit: str, parts: Sequence[str], rows: Sequence[Bar], mark: str = "") -> Drawing:
    """Bars of up to three parts from 0 on.

    Args:
        unit: of the axis.
        parts: what the parts are.
        rows: one for each thing.
        mark: what the marks are, where there are any.
    """
    scale = linear([value for row in rows for value in (sum(row.parts), row.mark or 0.0)])
    body = [_legend(title, [*zip(_COLOURS, parts, strict=False), *([("l", mark)] if mark else [])])]
    body.append(_frame(scale, len(rows), unit))
    for number, row in enumerate(rows):
        y, end = _TOP + number * _ROW, 0.0
        body.append(label(_LEFT - 8, y + FONT, row.name, "e", _LEFT - 16))
        for colour, name, value in zip(_COLOURS, parts, row.parts, strict=False):
            start, end = end, end + value
            x = _x(scale, start)
            body.append(rectangle(x, y + 2, _x(scale, end) - x, _BAR, colour, f"{name}: {short(value)} {unit}"))
        if row.mark is not None:
            body.append(_mark(scale, row.mark, y))
        body.append(label(_x(scale, max(end, row.mark or 0.0)) + 6, y + FONT, row.note, "m"))
    columns = ["", *(f"{name}, {unit}" for name in parts), *([mark] if mark else []), ""]
    table = [
        [
            row.name,
            *map(short, row.parts),
            *([short(row.mark) if row.mark is not None else ""] if mark else []),
            row.note,
        ]
        for row in rows
    ]
    return Drawing(title, _height(len(rows)), "".join(body), columns, table)


@dataclass(frozen=True)
class Limited:
    """A row of ``limits``: a value, and the most that it may be."""

    name: str
    value: float
    limit: float

    @property
    def within(self) -> bool:
        """True up to the limit; never for what is not a number."""
        return self.value <= self.limit


def limits(title: str, unit: str, rows: Sequence[Limited]) -> Drawing:
    """Values on a scale of powers of ten, each beside its limit; those above it stand out."""
    scale = logarithmic(value for row in rows for value in (row.value, row.limit))
    marks = [("a", "within"), ("bad", "out of tolerance"), ("l", "tolerance")]
    body = [_legend(title, marks), _frame(scale, len(rows), unit)]
    for number, row in enumerate(rows):
        y = _TOP + number * _ROW
        body.append(label(_LEFT - 8, y + FONT, row.name, "e", _LEFT - 16))
        width = _x(scale, row.value) - _LEFT
        body.append(rectangle(_LEFT, y + 2, max(width, 2), _BAR, "a" if row.within else "bad", f"{row.value:.3g}"))
        body.append(_mark(scale, row.limit, y))
        body.append(label(WIDTH - _RIGHT + 8, y + FONT, f"{row.value:.1e}", "m"))
    table = [
        [row.name, f"{row.value:.3g}", f"{row.limit:.3g}", "ok" if row.within else "out of tolerance"] for row in rows
    ]
    return Drawing(title, _height(len(rows)), "".join(body), ["stage", unit, "tolerance", ""], table)


@dataclass(frozen=True)
class Spread:
    """A row of ``spreads``: what values are like."""

    name: str
    mean: float
    deviation: float
    least: float
    most: float


def spreads(title: str, rows: Sequence[Spread]) -> Drawing:
    """From the least to the most of each row's values, with mean and deviation; both sides of 0, by powers of ten."""
    scale = signed(value for row in rows for value in (row.least, row.most))
    body = [_legend(title, [("a", "mean and deviation"), ("w", "least to most")]), _frame(scale, len(rows), "")]
    for number, row in enumerate(rows):
        y = _TOP + number * _ROW
        middle = y + 2 + _BAR / 2
        body.append(label(_LEFT - 8, y + FONT, row.name, "e", _LEFT - 16))
        body.append(line(_x(scale, row.least), middle, _x(scale, row.most), middle, "w"))
        low, high = (_x(scale, row.mean + side * row.deviation) for side in (-1, 1))
        body.append(rectangle(low, y + 2, max(high - low, 1), _BAR, "a", f"{row.mean:.3g} ± {row.deviation:.3g}"))
        body.append(_mark(scale, row.mean, y))
        body.append(label(WIDTH - _RIGHT + 8, y + FONT, f"σ {row.deviation:.3g}", "m"))
    table = [[row.name, *(f"{value:.4g}" for value in (row.mean, row.deviation, row.least, row.most))] for row in rows]
    return Drawing(title, _height(len(rows)), "".join(body), ["stage", "mean", "deviation", "least", "most"], table)


def heat_map(
    title: str,
    values: NDArray[np.floating],
    *,
    seconds: tuple[float, float],
    names: Sequence[str] = (),
    note: str = "",
    row_height: float | None = None,
    marks: Mapping[int, int] | None = None,
) -> Drawing:
    """A matrix over time as colours, dark for little and bright for much.

    Args:
        values: (n_rows, n_columns); the first row is drawn on top. What is not finite is white.
        seconds: where its columns begin and end.
        names: of the rows.
        note: below the title.
        row_height: in pixels; None for what makes the map 240 pixels high.
        marks: the column that is marked in a row, by the row's number.
    """
    n_rows, n_columns = values.shape
    row = row_height or max(240 / n_rows, 1)
    left, height = (_LEFT if names else 60.0), n_rows * row
    width = WIDTH - left - 20
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    png = base64.b64encode(as_png(coloured(values, low, high))).decode("ascii")
    place = f'x="{left:.1f}" y="{_TOP:.1f}" width="{width:.1f}" height="{height:.1f}"'
    body = [
        label(10, 22, title, "h"),
        label(10, 40, f"{note}{'; ' if note else ''}colours from {low:.3g} to {high:.3g}", "m", WIDTH - 20),
        f'<image {place} preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{png}"/>',
    ]
    body += [label(left - 8, _TOP + (i + 0.5) * row + FONT / 3, name, "e", left - 16) for i, name in enumerate(names)]
    for i, column in (marks or {}).items():
        x = left + (column + 0.5) / n_columns * width
        body.append(rectangle(x - 1, _TOP + i * row, 2, row, "bad"))
    start, end = seconds
    for tick in linear([end - start]).ticks:
        if tick <= end - start:
            x = left + tick / (end - start) * width
            body.append(label(x, _TOP + height + 16, short(start + tick), "x m"))
    body.append(label(WIDTH - 20, _TOP + height + 32, "seconds", "e m"))
    return Drawing(title, _TOP + height + _BOTTOM + 10, "".join(body))


# ---------------------------------------------------------------- what charts of rows share


def _height(n_rows: int) -> float:
    return _TOP + n_rows * _ROW + _BOTTOM


def _x(scale: Scale, value: float) -> float:
    return _LEFT + _PLOT * scale.place(value)


def _mark(scale: Scale, value: float, y: float) -> str:
    x = _x(scale, value)
    return line(x, y, x, y + _BAR + 4, "l")


def _legend(title: str, entries: Iterable[tuple[str, str]]) -> str:
    """The title, and what the colours are, below it."""
    parts, x = [label(10, 22, title, "h", WIDTH - 20)], _LEFT
    for colour, name in entries:
        is_line = colour in ("l", "w")
        parts.append(line(x, 37, x + 10, 37, colour) if is_line else rectangle(x, 32, 10, 10, colour))
        parts.append(label(x + 15, 41, name, "m"))
        x += 32 + 0.56 * FONT * len(name)
    return "".join(parts)


def _frame(scale: Scale, n_rows: int, unit: str) -> str:
    """The axis: a line at each of its ticks, and their values below."""
    bottom = _TOP + n_rows * _ROW
    parts = []
    for tick in scale.ticks:
        x = _x(scale, tick)
        parts += [line(x, _TOP - 4, x, bottom, "g"), label(x, bottom + 16, short(tick), "x m")]
    return "".join([*parts, label(WIDTH - 10, bottom + 30, unit, "e m")])
