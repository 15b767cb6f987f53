"""What commands say on a terminal, and how they end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from tqdm import tqdm

from whisper_max.errors import WhisperMaxError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 1, 2, 130, 141
BAR_DELAY = 2.0  # seconds of work before a progress bar is worth showing
LINE_EVERY = 10.0  # seconds between two lines of progress, where there is no terminal
_CONTROLS = {code: ascii(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}


def shown(name: str) -> str:
    """A name as one line that a terminal can show, however a file is called: control characters are escaped."""
    return name.translate(_CONTROLS)


def say(line: str) -> None:
    """A line on standard error, above the bar where there is one; where it can't be written the work goes on."""
    with suppress(OSError):
        tqdm.write(shown(line), file=sys.stderr)


def print_error(error: WhisperMaxError) -> None:
    """One line on standard error."""
    say(f"error: {error}")


def print_progress(message: str) -> None:
    """A line about something slow, on standard error at once; where it can't be written the work goes on."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """True where standard output is a terminal that can place what is printed."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@dataclass(frozen=True)
class Cell:
    """A cell of a table in a colour or another style of rich: ``green``, ``bold red``."""

    text: str
    style: str


@dataclass(frozen=True)
class Table:
    """A table as a terminal shows it.

    columns: their heads; those that end in ``>`` hold numbers, which stand below each other at the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    title: str = ""


def print_table(table: Table, plain: Iterable[str]) -> None:
    """A table on standard output, drawn by rich where that is a terminal; elsewhere its plain lines, and nothing else.

    ``NO_COLOR`` takes the colours, not the table.
    """
    if not is_terminal():
        for line in plain:
            print(line)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        justify: Literal["left", "right"] = "right" if column.endswith(">") else "left"
        drawn.add_column(Text(column.removesuffix(">")), justify=justify, overflow="fold")  # nothing is cut off
    for row in table.rows:
        drawn.add_row(*(Text(shown(each.text), each.style) if isinstance(each, Cell) else shown(each) for each in row))
    Console(markup=False, highlight=False, emoji=False).print(drawn)


class ProgressBar(Protocol):
    """What work tells of how far it is."""

    def update(self, n: float) -> object:
        """So much more is done."""
        ...

    def set_description_str(self, desc: str, refresh: bool = True) -> object:
        """What is being worked on."""
        ...


@contextmanager
def progress(total: float, bar_format: str) -> Iterator[ProgressBar]:
    """How far some work is, on standard error: a bar on a terminal, elsewhere a line now and then.

    Args:
        total: what ``update`` adds up to.
        bar_format: of the bar.
    """
    if not sys.stderr.isatty():
        yield _Lines(total)
        return
    with tqdm(total=total, bar_format=bar_format, delay=BAR_DELAY, file=sys.stderr) as bar:
        yield bar


class _Lines:
    """A line every ten seconds: ``[1/3] talk.mp3: 40 %``."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._done = 0.0
        self._what = ""
        self._last = time.monotonic()

    def update(self, n: float) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._last >= LINE_EVERY and self._done < self._total:
            self._last = now
            say(f"{self._what}: {100 * self._done / self._total:.0f} %")

    def set_description_str(self, desc: str, refresh: bool = True) -> None:
        self._what = desc
