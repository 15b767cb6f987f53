"""A drawing as SVG: what charts are put together from, and how drawings are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from whisper_max.files.remote import Place
from whisper_max.output import write_atomically

WIDTH = 860.0
"""Of every drawing, in pixels."""
FONT = 12.0
_WIDE = "WF"  # East Asian widths of characters that take the place of two
_CHARACTER = 0.56 * FONT  # of a usual character, on the average
# Characters that XML can't hold at all, and lone surrogates, which no file can.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Colours that differ also for who confuses red and green (Okabe and Ito, https://jfly.uni-koeln.de/color/).
STYLE = """\
svg{font:12px system-ui,sans-serif;background:#fff}text{fill:#222}.h{font-size:15px;font-weight:600}.m{fill:#666}
.g{stroke:#ddd}.a{fill:#0072b2}.b{fill:#e69f00}.c{fill:#009e73}.bad{fill:#d55e00}.l{stroke:#222;stroke-width:2}
.w{stroke:#0072b2;stroke-width:2}.e{text-anchor:end}.x{text-anchor:middle}
@media(prefers-color-scheme:dark){svg{background:#16181d}text{fill:#e6e6e6}.m{fill:#a0a0a0}.g{stroke:#3a3d44}
.a{fill:#56b4e9}.w{stroke:#56b4e9}.l{stroke:#e6e6e6}}
"""


@dataclass(frozen=True)
class Drawing:
    """A drawing, ``WIDTH`` wide, and the numbers that it shows.

    title: above it. height: in pixels. body: SVG elements. columns, rows: the same as a table, for a page.
    """

    title: str
    height: float
    body: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())


def text(value: str) -> str:
    """Any text as SVG and HTML may hold it."""
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value))


def label(x: float, y: float, value: str, classes: str = "", room: float | None = None) -> str:
    """A line of text at a place. room: pixels that it may take; a longer one is shown by its begin and its end."""
    shown = value if room is None else fitted(value, room)
    title = f"<title>{text(value)}</title>" if shown != value else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{title}{text(shown)}</text>'


def rectangle(x: float, y: float, width: float, height: float, classes: str, title: str = "") -> str:
    """A filled box. title: what a pointer over it shows."""
    inner = f"<title>{text(title)}</title>" if title else ""
    size = f'width="{max(width, 0):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{classes}">{inner}</rect>'


def line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>'


def fitted(value: str, room: float) -> str:
    """A text, or its begin and its end where it is wider than ``room`` pixels."""
    widths = [_CHARACTER * (2 if unicodedata.east_asian_width(each) in _WIDE else 1) for each in value]
    if sum(widths) <= room:
        return value
    begin, end, left = 0, len(value), room - _CHARACTER
    while begin < end:
        from_begin = begin <= len(value) - end
        width = widths[begin] if from_begin else widths[end - 1]
        if width > left:
            break
        left -= width
        begin, end = (begin + 1, end) if from_begin else (begin, end - 1)
    return f"{value[:begin]}\N{HORIZONTAL ELLIPSIS}{value[end:]}"


def as_svg(drawings: Sequence[Drawing]) -> str:
    """Drawings below each other, as the text of an SVG file."""
    height = sum(drawing.height for drawing in drawings)
    parts, y = [], 0.0
    for drawing in drawings:
        parts.append(f'<g transform="translate(0 {y:.1f})">{drawing.body}</g>')
        y += drawing.height
    size = f'width="{WIDTH:.0f}" height="{height:.0f}" viewBox="0 0 {WIDTH:.0f} {height:.0f}"'
    title = text("; ".join(drawing.title for drawing in drawings))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}"><style>{STYLE}</style>'
    return f"{head}{''.join(parts)}</svg>\n"


_PAGE_STYLE = """\
body{font:15px system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;font-size:13px}td,th{padding:2px 10px;text-align:left;border-bottom:1px solid #8884}
svg{max-width:100%;height:auto}details{margin:.5em 0 2em;overflow-x:auto}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181d}}
"""


def as_page(title: str, drawings: Sequence[Drawing], note: str = "") -> str:
    """Drawings with their numbers as an HTML page that loads nothing. note: a line below the title."""
    parts = [as_svg([drawing]) + _as_table(drawing) for drawing in drawings]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return (
        f'<!doctype html><html lang="en">{head}<title>{text(title)}</title><style>{_PAGE_STYLE}</style>'
        f"<h1>{text(title)}</h1><p>{text(note)}</p>{''.join(parts)}</html>\n"
    )


def _as_table(drawing: Drawing) -> str:
    if not drawing.rows:
        return ""
    head = "".join(f"<th>{text(column)}</th>" for column in drawing.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in drawing.rows)
    return f"<details><summary>The numbers</summary><table><tr>{head}</tr>{rows}</table></details>"


def write_plot(path: Place, title: str, drawings: Sequence[Drawing]) -> None:
    """Write drawings to a file: as a page where its suffix is ``.html``, else as SVG.

    Raises:
        OutputError: it can't be written.
    """
    is_page = path.name.lower().endswith(".html")
    write_atomically(path, as_page(title, drawings) if is_page else as_svg(drawings))
