"""From segments to the cues of subtitles: one per segment, or lines and cues laid out word by word.

The layout is openai-whisper's (``utils.py``, ``SubtitlesWriter``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from whisper_max.errors import OptionError
from whisper_max.options import check_ranges, option
from whisper_max.output.lengths import lengthen
from whisper_max.output.speakers import label
from whisper_max.output.styles import STYLES, lay_out
from whisper_max.output.timestamps import milliseconds
from whisper_max.transcribe.result import Segment, Word

_LONG_PAUSE = 3.0  # seconds between the starts of two words, after which a new cue begins
_UNLIMITED = 1000  # characters in a line, or words in a cue, when no limit is set
_HEARD, _SEEN = 0.1, 1.0  # seconds that a word, or a segment, gets of which the times give none
_ARROW = re.compile(r"-{2,}>")


@dataclass(frozen=True)
class WriterOptions:
    """How words are laid out in srt, vtt and ass; anything but the defaults needs segments with words.

    max_line_count needs max_line_width; cues may then reach over segments. highlight_words: one cue per word.
    subtitle_style: limits of ``styles``, in place of those here.

    Raises:
        OptionError: a limit below 1, or options of which one would have no effect.
    """

    max_line_width: int | None = option(
        None, "characters in a line of subtitles", least=1, most=_UNLIMITED, unset="no limit"
    )
    max_line_count: int | None = option(None, "lines in a subtitle", least=1, most=_UNLIMITED, unset="no limit")
    highlight_words: bool = option(False, "underline each word in srt and vtt as it is spoken")
    max_words_per_line: int | None = option(None, "words in a subtitle", least=1, most=_UNLIMITED, unset="no limit")
    subtitle_style: str | None = option(
        None,
        "line length, lines, reading speed, durations and gaps as they want them; turns word_timestamps on",
        choices=tuple(STYLES),
    )
    karaoke: bool = option(False, "let words light up as they are spoken, in ass and vtt")

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise OptionError("not a limit", where=name, expected="an integer above 0", found=value)
        check_ranges(self)
        if self.max_line_count is not None and self.max_line_width is None:
            raise OptionError("max_line_count has no effect without max_line_width")
        if self.max_words_per_line is not None and self.max_line_count is not None:
            raise OptionError("max_words_per_line has no effect with max_line_width and max_line_count")
        if self.subtitle_style is not None:
            limits = [name for name in ("max_line_width", "max_words_per_line") if getattr(self, name) is not None]
            if limits:
                raise OptionError("has limits of its own", where="subtitle_style", found=limits[0])
        if self.karaoke and self.highlight_words:
            raise OptionError("can't be given together with highlight_words", where="karaoke")

    def changed(self) -> list[str]:
        """Names of the options that differ from their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


@dataclass(frozen=True)
class Cue:
    """One subtitle on the screen; start and end in seconds, lines separated by newlines.

    words: what it is laid out of, in order; those that begin a line after the first begin with a newline.
    speaker: who says it, where that is known and is to be shown.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: str | None = None


def iterate_cues(
    segments: Sequence[Segment],
    options: WriterOptions,
    escape: Callable[[str], str] = str,
    *,
    language: str = "",
    duration: float = math.inf,
) -> list[Cue]:
    """The cues of a transcript, in order; none is without text or length, or of two speakers.

    Args:
        segments: laid out by words when the first segment with text has words.
        options: the layout.
        escape: makes spoken text safe for the format; highlighting is put around it.
        language: a code, for a style.
        duration: of the recording in seconds, where it is known.

    Raises:
        OptionError: an option is set that needs words, and the segments have none.
        OutputError: a time that no format can hold.
    """
    spoken = [segment for segment in segments if segment.text.strip() or segment.words]
    if not spoken:
        return []
    if spoken[0].words is None:
        if options.changed():
            raise OptionError(f"{options.changed()[0]} needs word_timestamps")
        cues = [Cue(each.start, each.end, cue_text(escape(each.text.strip())), speaker=each.speaker) for each in spoken]
        return _with_lengths(cues, _SEEN, duration)
    if options.highlight_words or options.karaoke or options.subtitle_style is not None:  # words count by themselves
        spoken = _words_with_lengths(spoken, duration)
    cues = list(_cues_of_words(spoken, options, escape, language, duration))
    if any(cue.speaker is not None for cue in cues):
        cues.sort(key=lambda cue: cue.start)  # speakers may speak over each other
    return _with_lengths(cues, _HEARD, duration)


def _cues_of_words(
    segments: Sequence[Segment], options: WriterOptions, escape: Callable[[str], str], language: str, duration: float
) -> Iterator[Cue]:
    for start, end, words in _laid_out(segments, options, language, duration):
        escaped = [replace(word, word=escape(word.word)) for word in words]
        if options.highlight_words:
            yield from _highlighted(escaped)
        else:
            yield Cue(start, end, cue_text("".join(word.word for word in escaped)), tuple(escaped), words[0].speaker)


def _laid_out(
    segments: Sequence[Segment], options: WriterOptions, language: str, duration: float
) -> Iterator[tuple[float, float, list[Word]]]:
    """Start, end and words of each cue, by a style or by the limits."""
    if options.subtitle_style is None:
        for words in _lay_out(segments, options):
            yield words[0].start, words[-1].end, words
        return
    all_words = [word for segment in segments for word in _words_of(segment)]
    style = STYLES[options.subtitle_style].in_language(language)
    for shown in lay_out(all_words, style, language, duration):
        yield shown.start, shown.end, _joined(shown.lines)


def _joined(lines: Sequence[Sequence[Word]]) -> list[Word]:
    """Lines of words in a row: the first word of a line is stripped, and has a newline where it is a later line."""
    joined: list[Word] = []
    for line in lines:
        first = replace(line[0], word=("\n" if joined else "") + line[0].word.lstrip())
        joined += [first, *line[1:]]
    return joined


def _words_with_lengths(segments: Sequence[Segment], duration: float) -> list[Segment]:
    """Segments whose words all last some time."""
    words = [word for segment in segments for word in segment.words or ()]
    times = iter(lengthen([(word.start, word.end) for word in words], _HEARD, duration))
    longer = []
    for segment in segments:
        pairs = zip(segment.words or (), times, strict=False)  # takes as many times as there are words
        timed = [replace(word, start=start, end=end) for word, (start, end) in pairs]
        longer.append(replace(segment, words=timed))
    return longer


def _with_lengths(cues: Sequence[Cue], wanted: float, duration: float) -> list[Cue]:
    """Those with text, each of some length."""
    shown = [cue for cue in cues if cue.text]
    times = lengthen([(cue.start, cue.end) for cue in shown], wanted, duration)
    return [replace(cue, start=start, end=end) for cue, (start, end) in zip(shown, times, strict=True)]


def cue_text(text: str) -> str:
    """Without what ends or splits a cue: arrows are shortened, and there are no blank lines."""
    return "\n".join(line for line in _ARROW.sub("->", text).splitlines() if line.strip())


def _words_of(segment: Segment) -> list[Word]:
    """The segment's words; text for which no words were found counts as one."""
    if segment.words or not segment.text.strip():
        return segment.words or []
    return [Word(segment.text, segment.start, segment.end, 0.0, segment.speaker)]


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
            cue_break = bool(cue) and ((i == 0 and keep_segments) or word.speaker != cue[0].speaker)
            previous = word.start
            if 0 < line_length <= width - len(word.word) and not pause and not cue_break:
                line_length += len(word.word)
                cue.append(word)
                continue
            text = word.word.strip()
            full = options.max_line_count is not None and (pause or n_lines >= options.max_line_count)
            if cue and (full or cue_break):
                yield cue
                cue, n_lines = [], 1
            elif line_length > 0:
                n_lines += 1
                text = "\n" + text
            line_length = len(text.strip()) + (0 if cue else len(label(word.speaker)))
            cue.append(replace(word, word=text))
    if cue:
        yield cue


def _groups(segments: Sequence[Segment], size: int) -> Iterator[list[Word]]:
    for segment in segments:
        words = _words_of(segment)
        for start in range(0, len(words), size):
            yield words[start : start + size]


def _highlighted(words: Sequence[Word]) -> Iterator[Cue]:
    """A cue for every word, underlined while it is spoken, and one without underline for every gap."""
    texts = [word.word for word in words]
    plain = cue_text("".join(texts))
    previous_end = words[0].start
    for i, word in enumerate(words):
        if milliseconds(word.start) > milliseconds(previous_end):
            yield Cue(previous_end, word.start, plain, speaker=word.speaker)
        text = texts[i]
        spoken = text.lstrip()
        if not spoken:
            continue
        underlined = f"{text[: len(text) - len(spoken)]}<u>{spoken}</u>"
        shown = cue_text("".join([*texts[:i], underlined, *texts[i + 1 :]]))
        yield Cue(word.start, word.end, shown, speaker=word.speaker)
        previous_end = word.end
