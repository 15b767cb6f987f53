"""Subtitles as broadcasters want them: how much stands on the screen, for how long, and where it is broken.

Sources: Netflix' "Timed Text Style Guide: General Requirements" (durations, gaps, lines), its "Timing Guidelines" (gaps
of less than half a second are closed) and its guides for each language (characters of a line and a second); the BBC's
"Subtitle Guidelines" 3, 4 and 5 (lines, 160 to 180 words a minute, gaps of a second or none, no hanging on for longer
than 1.5 s).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from whisper_max.output.speakers import label
from whisper_max.output.units import Unit, split_long, split_wide, text_of, units_of, width_of
from whisper_max.transcribe.result import Word

_PAUSE = 1.0  # seconds without a word, over which no subtitle hangs
_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")  # of a text, which are none of a subtitle's
_ENDS = tuple(".?!。？！…؟۔।")  # of sentences
_STOPS = tuple(",;:、，；：،؛—–")  # within them
_QUOTES = "\"'”’»」』)"
# What a break costs, beside one for each subtitle.
_AFTER_SENTENCE, _AFTER_STOP, _AFTER_WORD, _AFTER_SHORT_WORD = 0.0, 0.3, 1.0, 1.4
_SHORT_WORD = 3  # letters; mostly an article, a preposition or a pronoun, which go with the word after them
_TWO_SENTENCES, _TOO_SHORT, _TOO_FAST, _RAGGED = 1.2, 1.0, 1.0, 0.5


@dataclass(frozen=True)
class Style:
    """Limits of subtitles.

    width: columns of a line. lines: in a subtitle. speed: characters a second that can be read. least, longest: seconds
    that one is shown. gap: seconds between two; closes: a pause shorter than that is closed, up to the gap. hang:
    seconds that one may stay after its last word so that it can be read. widths, speeds: of languages that have others.
    """

    width: float = 42
    lines: int = 2
    speed: float = math.inf
    least: float = 0.5
    longest: float = 10.0
    gap: float = 0.0
    closes: float = 0.0
    hang: float = 0.0
    widths: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)

    def in_language(self, language: str) -> Style:
        """The style for a language, by its code."""
        width, speed = self.widths.get(language, self.width), self.speeds.get(language, self.speed)
        return replace(self, width=width, speed=speed)


_SQUARE = {"ja": 13.0, "ko": 16.0, "zh": 16.0, "yue": 16.0}
STYLES = {
    "netflix": Style(
        speed=17,
        least=5 / 6,
        longest=7.0,
        gap=2 / 24,  # two frames
        closes=0.5,
        hang=0.5,
        widths=_SQUARE,
        speeds={"en": 20.0, "ja": 4.0, "ko": 12.0, "zh": 9.0, "yue": 9.0},
    ),
    "bbc": Style(
        width=37,
        speed=15,  # 180 words a minute
        least=1.0,
        longest=7.0,
        closes=1.0,
        hang=1.5,
        widths=_SQUARE,
        speeds={"ja": 4.0, "ko": 12.0, "zh": 9.0, "yue": 9.0},
    ),
    "plain": Style(widths=_SQUARE),
}


@dataclass(frozen=True)
class Shown:
    """One subtitle: its lines of words, and its seconds on the screen."""

    start: float
    end: float
    lines: list[list[Word]]


def lay_out(words: Sequence[Word], style: Style, language: str, duration: float = math.inf) -> list[Shown]:
    """Subtitles of all words, in order, none longer than the style allows, with room for the name of who speaks.

    Args:
        words: of a recording, each with some length.
        style: the limits, of the language.
        language: a code.
        duration: of the recording in seconds.

    Raises:
        OptionError: a language whose lines can't be broken by what is installed.
    """
    spoken = [part for word in _with_spaces(words) for part in split_long(word, style.width, language)]
    units = [
        part
        for unit in units_of(spoken, language)
        for part in split_wide(unit, style.width - _label_width(unit, language), language)
    ]
    groups = [group for passage in _passages(units) for group in _Passage(passage, style, language).divide()]
    return _timed(groups, style, duration)


def _label_width(unit: Unit, language: str) -> float:
    """Columns of what says who speaks."""
    return width_of(label(unit[0].speaker), language)


def _with_spaces(words: Sequence[Word]) -> Iterator[Word]:
    """The words that have a text, with the spaces that were words of their own before them, as between Thai phrases."""
    spaces = ""
    for word in words:
        if word.word.strip():
            yield replace(word, word=_LINE_ENDS.sub(" ", spaces + word.word))
            spaces = ""
        else:
            spaces += word.word


def _passages(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Units between pauses, of one speaker each."""
    passage: list[Unit] = []
    for unit in units:
        before = passage[-1][-1] if passage else None
        if before is not None and (unit[0].start - before.end >= _PAUSE or unit[0].speaker != before.speaker):
            yield passage
            passage = []
        passage.append(unit)
    if passage:
        yield passage


@dataclass(frozen=True)
class _Group:
    """The units of a subtitle by lines, and the seconds in which they can be read."""

    lines: list[list[Unit]]
    readable: float


class _Passage:
    """Units between pauses, to be broken into subtitles and lines; ``start`` and ``stop`` are numbers of units.

    Args:
        units: all of the passage.
        style: the limits.
        language: of the words.
    """

    def __init__(self, units: list[Unit], style: Style, language: str) -> None:
        self._units, self._style = units, style
        self._label = _label_width(units[0], language)  # columns of a subtitle's first line that are not for words
        texts = [text_of(unit).rstrip() for unit in units]
        self._ends = [0.0, *accumulate(width_of(text, language) for text in texts)]
        self._spaces = [width_of(text, language) - width_of(text.lstrip(), language) for text in texts]
        self._costs = [_break_cost(text) for text in texts]  # of a break after each unit

    def divide(self) -> list[_Group]:
        """The subtitles of the passage, broken where it costs least in all."""
        best: list[tuple[float, int]] = [(0.0, 0)]  # of the first n units: what they cost, where the last one begins
        for stop in range(1, len(self._units) + 1):
            choices = []
            for start in range(stop - 1, -1, -1):
                if start < stop - 1 and not self._fits(start, stop):
                    break
                choices.append((best[start][0] + self._cost(start, stop), start))
            best.append(min(choices))
        groups: list[_Group] = []
        stop = len(self._units)
        while stop > 0:
            start = best[stop][1]
            groups.append(self._group(start, stop))
            stop = start
        return groups[::-1]

    def _group(self, start: int, stop: int) -> _Group:
        """Units in as few lines as they fit in, and these as even as they can be."""
        n_lines = self._n_lines(start, stop, self._label)
        borders = min(self._breaks(start, stop, n_lines, self._label), key=self._unevenness)
        lines = [self._units[first:last] for first, last in pairwise(borders)]
        return _Group(lines, self._readable(start, stop))

    def _width(self, start: int, stop: int) -> float:
        """Columns of units in a line."""
        return self._ends[stop] - self._ends[start] - self._spaces[start]

    def _readable(self, start: int, stop: int) -> float:
        return (self._label + self._width(start, stop)) / self._style.speed

    def _seconds(self, start: int, stop: int) -> float:
        return self._units[stop - 1][-1].end - self._units[start][0].start

    def _fits(self, start: int, stop: int) -> bool:
        n_lines = self._n_lines(start, stop, self._label)
        return self._seconds(start, stop) <= self._style.longest and n_lines <= self._style.lines

    def _n_lines(self, start: int, stop: int, label: float = 0.0) -> int:
        """Lines, each as full as it goes; of the first, ``label`` columns are taken."""
        n_lines, first = 1, start
        for last in range(start + 1, stop):
            if label + self._width(first, last + 1) > self._style.width:
                n_lines, first, label = n_lines + 1, last, 0.0
        return n_lines

    def _breaks(self, start: int, stop: int, n_lines: int, label: float = 0.0) -> Iterator[list[int]]:
        """All ways to break units into so many lines: where each begins, and where the last one ends."""
        if n_lines == 1:
            yield [start, stop]
            return
        for border in range(start + 1, stop - n_lines + 2):
            if border > start + 1 and label + self._width(start, border) > self._style.width:
                break
            if self._n_lines(border, stop) <= n_lines - 1:
                for rest in self._breaks(border, stop, n_lines - 1):
                    yield [start, *rest]

    def _unevenness(self, borders: list[int]) -> float:
        """In lines' widths, with what the breaks between them cost."""
        widths = [self._width(first, last) for first, last in pairwise(borders)]
        widths[0] += self._label
        uneven = (max(widths) - min(widths)) / self._style.width
        return uneven + _RAGGED * sum(self._costs[border - 1] for border in borders[1:-1])

    def _cost(self, start: int, stop: int) -> float:
        seconds = self._seconds(start, stop)
        cost = 1 + self._costs[stop - 1]
        cost += _TWO_SENTENCES * self._costs[start : stop - 1].count(_AFTER_SENTENCE)
        if seconds < self._style.least:
            cost += _TOO_SHORT
        too_long = max(0.0, self._readable(start, stop) - seconds)
        return cost + _TOO_FAST * too_long / max(seconds, self._style.least)


def _break_cost(unit: str) -> float:
    """What it costs to break after a unit."""
    text = unit.rstrip(_QUOTES)
    if text.endswith(_ENDS):
        return _AFTER_SENTENCE
    if text.endswith(_STOPS):
        return _AFTER_STOP
    return _AFTER_SHORT_WORD if len(text.strip()) <= _SHORT_WORD and unit[:1].isspace() else _AFTER_WORD


def _timed(groups: Sequence[_Group], style: Style, duration: float) -> list[Shown]:
    """Each as long as its words, and longer where it can't be read in that time and there is room.

    One ends before the next, but for somebody who speaks over somebody else.
    """
    shown: list[Shown] = []
    if not groups:
        return shown
    firsts = [group.lines[0][0][0] for group in groups]
    starts = [first.start for first in firsts]
    changes = [before.speaker != after.speaker for before, after in pairwise(firsts)]
    for group, (start, following), changed in zip(
        groups, pairwise([*starts, math.inf]), [*changes, False], strict=True
    ):
        spoken = group.lines[-1][-1][-1].end
        readable = min(start + group.readable, spoken + style.hang)
        end = min(max(spoken, readable, start + style.least), start + style.longest)
        if 0 < following - end < style.closes:
            end = min(following, start + style.longest)
        end = min(end, max(duration, spoken))
        if following - style.gap < end and following > start:
            end = max(following - style.gap, start + (following - start) / 2, spoken if changed else start)
        shown.append(Shown(start, end, [[word for unit in line for word in unit] for line in group.lines]))
    return shown
