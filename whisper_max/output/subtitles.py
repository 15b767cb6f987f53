"""From segments to the cues of subtitles: one per segment, or lines and cues laid out word by word.

The layout is openai-whisper's (``utils.py``, ``SubtitlesWriter``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from whisper_max.errors import OptionError
from whisper_max.transcribe.result import Segment, Word

_LONG_PAUSE = 3.0  # seconds between the starts of two words, after which a new cue begins
_UNLIMITED = 1000  # characters in a line, or words in a cue, when no limit is set
_ARROW = re.compile(r"-{2,}>")


@dataclass(frozen=True)
class WriterOptions:
    """How words are laid out in srt and vtt; anything but the defaults needs segments with words.

    max_line_width: characters in a line. max_line_count: lines in a cue (needs max_line_width; cues may then reach
    over segments). max_words_per_line: words in a cue. highlight_words: one cue per word, the word underlined.

    Raises:
        OptionError: a limit below 1, or options of which one would have no effect.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    highlight_words: bool = False
    max_words_per_line: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError("not a limit", where=name, expected="an integer above 0", found=value)
        if self.max_line_count is not None and self.max_line_width is None:
            raise OptionError("max_line_count has no effect without max_line_width")
        if self.max_words_per_line is not None and self.max_line_count is not None:
            raise OptionError("max_words_per_line has no effect with max_line_width and max_line_count")

    def changed(self) -> list[str]:
        """Names of the options that differ from their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


@dataclass(frozen=True)
class Cue:
    """One subtitle on the screen; start and end in seconds, lines separated by newlines."""

    start: float
    end: float
    text: str


def iterate_cues(
    segments: Sequence[Segment], options: WriterOptions, escape: Callable[[str], str] = str
) -> Iterator[Cue]:
    """The cues of a transcript, in order.

    Args:
        segments: laid out by words when the first segment has words.
        options: the layout.
        escape: makes spoken text safe for the format; highlighting is put around it.

    Raises:
        OptionError: an option is set that needs words, and the segments have none.
    """
    if not segments:
        return
    if segments[0].words is None:
        if options.changed():
            raise OptionError(f"{options.changed()[0]} needs word_timestamps")
        for segment in segments:
            yield Cue(segment.start, segment.end, _cue_text(escape(segment.text.strip())))
        return
    for words in _lay_out(segments, options):
        texts = [escape(word.word) for word in words]
        if options.highlight_words:
            yield from _highlighted(words, texts)
        else:
            yield Cue(words[0].start, words[-1].end, _cue_text("".join(texts)))


def _cue_text(text: str) -> str:
    """Without what ends or splits a cue: arrows are shortened, and there are no blank lines."""
    return "\n".join(line for line in _ARROW.sub("->", text).splitlines() if line.strip())


def _words_of(segment: Segment) -> list[Word]:
    """The segment's words; text for which no words were found counts as one."""
    if segment.words or not segment.text.strip():
        return segment.words or []
    return [Word(segment.text, segment.start, segment.end, 0.0)]


def _lay_out(segments: Sequence[Segment], options: WriterOptions) -> Iterator[list[Word]]:
    """The words of each cue; those that begin a line are stripped, those that begin a later one have a newline."""
    keep_segments = options.max_line_count is None or options.max_line_width is None
    width = options.max_line_width or _UNLIMITED
    cue: list[Word] = []
    line_length = 0
    n_lines = 1
    previous: float | None = None  # start of the word before
    for group in _groups(segments, options.max_words_per_line or _UNLIMITED):
        for i, word in enumerate(group):
            pause = not keep_segments and previous is not None and word.start - previous > _LONG_PAUSE
            group_break = i == 0 and bool(cue) and keep_segments
            previous = word.start
            if 0 < line_length <= width - len(word.word) and not pause and not group_break:
                line_length += len(word.word)
                cue.append(word)
                continue
            text = word.word.strip()
            full = options.max_line_count is not None and (pause or n_lines >= options.max_line_count)
            if cue and (full or group_break):
                yield cue
                cue, n_lines = [], 1
            elif line_length > 0:
                n_lines += 1
                text = "\n" + text
            line_length = len(text.strip())
            cue.append(replace(word, word=text))
    if cue:
        yield cue


def _groups(segments: Sequence[Segment], size: int) -> Iterator[list[Word]]:
    for segment in segments:
        words = _words_of(segment)
        for start in range(0, len(words), size):
            yield words[start : start + size]


def _highlighted(words: Sequence[Word], texts: Sequence[str]) -> Iterator[Cue]:
    """A cue for every word, underlined while it is spoken, and one without underline for every gap."""
    plain = _cue_text("".join(texts))
    previous_end = words[0].start
    for i, word in enumerate(words):
        if round(word.start * 1000) != round(previous_end * 1000):
            yield Cue(previous_end, word.start, plain)
        text = texts[i]
        spoken = text.lstrip()
        underlined = f"{text[: len(text) - len(spoken)]}<u>{spoken}</u>"
        yield Cue(word.start, word.end, _cue_text("".join([*texts[:i], underlined, *texts[i + 1 :]])))
        previous_end = word.end
