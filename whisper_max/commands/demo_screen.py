"""The rows of ``demo`` on a terminal, as its tiers run, and what it prints when they have ended.

rich draws them, not Textual: rich comes with MAX, and what it drew stays where the shell is, to be scrolled to and
copied; an application of a screen of its own would vanish with its last frame, and there is nothing here to press.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whisper_max.commands.console import is_terminal, shown
from whisper_max.measure.demo.differences import Part, excerpts, n_different, parts
from whisper_max.measure.demo.runs import DONE, FAILED, SKIPPED, Run, compared_with

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

WIDE = 130  # columns from which on words stand beside the figures, not below them
_NAME, _BAR, _STAGE, _SPEED, _MEMORY = 14, 16, 13, 9, 9
_FIGURES = _NAME + _BAR + _STAGE + _SPEED + _MEMORY + 5
_TAIL = 300  # words of a transcript that a frame aligns
_STYLES = {"changed": "bold yellow", "missing": "red strike", "extra": "bold green"}
_OF_STAGE = {DONE: "green", SKIPPED: "dim", FAILED: "red"}
_MOST_EXCERPTS = 6  # of a tier
_CHART = 40  # characters of the longest bar


class Screen:
    """The rows as they are now; rich asks for them several times a second."""

    def __init__(self, runs: Sequence[Run], columns: int) -> None:
        self._runs = runs
        self._columns = columns
        self._tails: dict[str, tuple[tuple[int, bool], Text]] = {}

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        return Group(self._line("tier", "", "stage", "x real", "memory", style="bold"), *self._rows())

    def _rows(self) -> Iterator[RenderableType]:
        from rich.progress_bar import ProgressBar

        for run in self._runs:
            bar = ProgressBar(total=max(run.duration, 1e-3), completed=run.position, width=_BAR)
            speed, memory = run.speed, run.memory()
            figures = ("" if speed is None else f"{speed:.1f}", "" if memory is None else megabytes(memory))
            words = self._words(run)
            if self._columns >= WIDE:
                yield self._line(run.tier.name, bar, run.stage, *figures, words=words)
            else:
                yield self._line(run.tier.name, bar, run.stage, *figures)
                yield words

    def _line(
        self,
        name: str,
        bar: RenderableType,
        stage: str,
        speed: str,
        memory: str,
        *,
        style: str = "",
        words: RenderableType = "",
    ) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1, 0, 0))
        for width in (_NAME, _BAR, _STAGE):
            line.add_column(width=width, no_wrap=True)
        for width in (_SPEED, _MEMORY):
            line.add_column(width=width, justify="right", no_wrap=True)
        line.add_column(no_wrap=True)
        cells = Text(name, style or "bold"), bar, Text(stage, style or _OF_STAGE.get(stage, "cyan"))
        line.add_row(*cells, Text(speed, style), Text(memory, style), words)
        return line

    def _words(self, run: Run) -> Text:
        """The last words of a run, or why there are none, in one line."""
        from rich.text import Text

        room = self._columns - (_FIGURES if self._columns >= WIDE else 2) - 1
        if run.note and not run.words:
            note = shown(run.note)
            return Text(note if len(note) <= room else f"{note[: room - 1]}\N{HORIZONTAL ELLIPSIS}", "dim")
        first = compared_with(self._runs)
        reference = None if first is run else first
        key = (len(run.words), reference is not None)
        if self._tails.get(run.tier.name, (None,))[0] != key:
            self._tails[run.tier.name] = key, tail(run, reference, room)
        return self._tails[run.tier.name][1]


def tail(run: Run, reference: Run | None, room: int) -> Text:
    """The last words of a run that have room in a line, with what differs from the reference in colours."""
    from rich.text import Text

    start = max(len(run.words) - _TAIL, 0)
    words = run.words[start:]
    expected = words if reference is None else reference.words[max(start - 20, 0) : len(run.words) + 20]
    aligned = parts(expected, words)
    if aligned and not aligned[-1].found:  # what the reference says later, or what begins before the window
        aligned.pop()
    if aligned and start and not aligned[0].found:
        aligned.pop(0)
    line = Text(" ").join(coloured(aligned))
    return line if len(line) <= room else Text("\N{HORIZONTAL ELLIPSIS}") + line[len(line) - room + 1 :]


def coloured(aligned: Sequence[Part]) -> list[Text]:
    """Words: those that the reference has in another way yellow, those it hasn't green, those it has alone red."""
    from rich.text import Text

    found = []
    for part in aligned:
        if part.same:
            found.append(Text(shown(" ".join(part.found))))
            continue
        if part.expected:
            found.append(Text(shown(" ".join(part.expected)), _STYLES["missing"]))
        if part.found:
            style = _STYLES["changed" if part.expected else "extra"]
            found.append(Text(shown(" ".join(part.found)), style))
    return found


def plain(aligned: Sequence[Part]) -> str:
    """The same without colours, as wdiff writes it: ``[-what the reference has-] {+what is there+}``."""
    found = []
    for part in aligned:
        if part.same:
            found.append(" ".join(part.found))
            continue
        found += [f"[-{' '.join(part.expected)}-]"] if part.expected else []
        found += [f"{{+{' '.join(part.found)}+}}"] if part.found else []
    return shown(" ".join(each for each in found if each))


def megabytes(n_bytes: int) -> str:
    """``345 MB``."""
    return f"{n_bytes / 1e6:.0f} MB"


@contextmanager
def live(runs: Sequence[Run]) -> Iterator[None]:
    """Show the rows on standard error while the block runs."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    screen = Screen(runs, console.width)
    with Live(get_renderable=lambda: screen, console=console, refresh_per_second=8, transient=is_terminal()):
        yield


# ---------------------------------------------------------------- when all have ended


def print_differences(runs: Sequence[Run], aligned: Mapping[str, Sequence[Part]]) -> None:
    """Each tier's words that differ from the first one's, with some around them. aligned: of ``alignments``."""
    reference = compared_with(runs)
    for name, words in aligned.items():
        if reference is None:
            continue
        differing = n_different(words)
        count = f"{differing} of {len(reference.words)} words differ from {reference.tier.name}"
        print(f"{name}: {count if differing else f'the words of {reference.tier.name}'}")
        found = list(excerpts(words))
        for excerpt in found[:_MOST_EXCERPTS]:
            _print_excerpt(excerpt)
        if len(found) > _MOST_EXCERPTS:
            print(f"  and {len(found) - _MOST_EXCERPTS} more places")


def _print_excerpt(excerpt: Sequence[Part]) -> None:
    if not is_terminal():
        print(f"  ... {plain(excerpt)} ...")
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text("  ... ") + Text(" ").join(coloured(excerpt)) + Text(" ..."))


def chart(runs: Sequence[Run]) -> Iterator[str]:
    """A bar for each tier that is done, as long as it is fast."""
    speeds = {run.tier.name: run.speed or 0.0 for run in runs if run.stage == DONE}
    mark = "\N{FULL BLOCK}" if is_terminal() else "#"
    for name, speed in speeds.items():
        length = round(_CHART * speed / max(*speeds.values(), 1e-9))
        yield f"{name:<{_NAME}} {mark * max(length, 1):<{_CHART}} {speed:>7.1f} x real time"
