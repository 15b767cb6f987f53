"""Word timestamps: a window's words, when each is said, and openai-whisper's rules for the ends of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from whisper_max.audio.mel import FRAMES_PER_SECOND, TOKENS_PER_SECOND
from whisper_max.decode.contract import Alignment
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe.alignment import token_times
from whisper_max.transcribe.options import Punctuation
from whisper_max.transcribe.segment import Segment, Word

_SENTENCE_ENDS = ".。!！?？"
_LONGEST_MEDIAN = 0.7  # seconds: a median word is not thought longer
_SLACK = 0.5  # seconds: how far a word may reach beyond its segment before the segment's time is preferred


@dataclass
class WordTiming:
    """A word with its tokens, its start and end in seconds from the start of the window, and its probability."""

    word: str
    tokens: list[int]
    start: float
    end: float
    probability: float


def alignment_tokens(tokenizer: Tokenizer, text_tokens: Sequence[int]) -> list[int]:
    """What the model is given to align text tokens with the audio."""
    return [*tokenizer.sot_sequence_including_notimestamps, *text_tokens, tokenizer.eot]


def find_words(
    tokenizer: Tokenizer, text_tokens: Sequence[int], alignment: Alignment, n_frames: int
) -> list[WordTiming]:
    """The words of the text tokens, timed by the alignment of ``alignment_tokens``.

    Args:
        n_frames: mel frames of the window.
    """
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    if len(words) < 2:  # nothing but the end
        return []
    first = len(tokenizer.sot_sequence)
    times = token_times(alignment.weights, n_frames, first) / TOKENS_PER_SECOND
    probabilities = alignment.token_probs[first + 1 : -1].astype(np.float64)
    borders = np.cumsum([0, *map(len, word_tokens[:-1])]).tolist()
    return [
        WordTiming(word, tokens, float(times[i]), float(times[j]), float(np.mean(probabilities[i:j])))
        for word, tokens, i, j in zip(words, word_tokens, borders, borders[1:], strict=False)  # without the end
    ]


def add_words(
    segments: Sequence[Segment],
    timings: list[WordTiming],
    punctuation: Punctuation,
    tokenizer: Tokenizer,
    last_speech: float,
) -> None:
    """Give a window's segments their words, and times that follow them.

    Args:
        segments: of one window, changed in place.
        timings: of all their words, in order.
        tokenizer: of the recording.
        last_speech: when speech ended before this window, in seconds.
    """
    if not segments:
        return
    limits = _Limits.of(timings)
    _shorten_sentence_ends(timings, limits)
    merge_punctuations(timings, punctuation)
    offset = segments[0].seek / FRAMES_PER_SECOND
    waiting = iter(timings)
    for segment in segments:
        n_tokens = sum(map(tokenizer.is_text, segment.tokens))
        words = _take_words(waiting, n_tokens, offset)
        segment.words = words
        if words:
            _shorten_after_pause(words, last_speech, limits)
            _agree_on_start(segment, words[0], limits)
            _agree_on_end(segment, words[-1], limits)
            last_speech = segment.end


@dataclass(frozen=True)
class _Limits:
    """The median length of a window's words and the longest that is believed, in seconds."""

    median: float
    longest: float

    @classmethod
    def of(cls, timings: Sequence[WordTiming]) -> _Limits:
        durations = [timing.end - timing.start for timing in timings if timing.end != timing.start]
        median = min(_LONGEST_MEDIAN, float(np.median(durations))) if durations else 0.0
        return cls(median, median * 2)


def _shorten_sentence_ends(timings: Sequence[WordTiming], limits: _Limits) -> None:
    """A mark that ends a sentence, and the word after it, often stretch over the pause between."""
    for previous, timing in pairwise(timings):
        if timing.end - timing.start > limits.longest:
            if timing.word in _SENTENCE_ENDS:
                timing.end = timing.start + limits.longest
            elif previous.word in _SENTENCE_ENDS:
                timing.start = timing.end - limits.longest


def merge_punctuations(timings: Sequence[WordTiming], punctuation: Punctuation) -> None:
    """Join marks with the word that they belong to; what has been joined stays behind with no word and no tokens."""
    following = len(timings) - 1
    for i in range(len(timings) - 2, -1, -1):
        mark, word = timings[i], timings[following]
        if mark.word.startswith(" ") and mark.word.strip() in punctuation.prepended:
            word.word, word.tokens = mark.word + word.word, mark.tokens + word.tokens
            mark.word, mark.tokens = "", []
        else:
            following = i
    previous = 0
    for i in range(1, len(timings)):
        word, mark = timings[previous], timings[i]
        if not word.word.endswith(" ") and mark.word in punctuation.appended:
            word.word, word.tokens = word.word + mark.word, word.tokens + mark.tokens
            mark.word, mark.tokens = "", []
        else:
            previous = i


def _take_words(waiting: Iterator[WordTiming], n_tokens: int, offset: float) -> list[Word]:
    """The next words, until they hold ``n_tokens`` tokens."""
    words = []
    taken = 0
    while taken < n_tokens and (timing := next(waiting, None)) is not None:
        taken += len(timing.tokens)
        if timing.word:
            start, end = round(offset + timing.start, 2), round(offset + timing.end, 2)
            words.append(Word(timing.word, start, end, timing.probability))
    return words


def _shorten_after_pause(words: list[Word], last_speech: float, limits: _Limits) -> None:
    """The first words after a pause are not longer than twice the median word."""
    first = words[0]
    second = words[1] if len(words) > 1 else None
    paused = first.end - last_speech > limits.median * 4
    long = first.end - first.start > limits.longest
    both_long = second is not None and second.end - first.start > limits.longest * 2
    if not paused or not (long or both_long):
        return
    if second is not None and second.end - second.start > limits.longest:
        first.end = second.start = max(second.end / 2, second.end - limits.longest)
    first.start = max(0, first.end - limits.longest)


def _agree_on_start(segment: Segment, word: Word, limits: _Limits) -> None:
    """The segment starts with its first word, unless that word starts much too early."""
    if segment.start < word.end and segment.start - _SLACK > word.start:
        word.start = max(0, min(word.end - limits.median, segment.start))
    else:
        segment.start = word.start


def _agree_on_end(segment: Segment, word: Word, limits: _Limits) -> None:
    """The segment ends with its last word, unless that word ends much too late."""
    if segment.end > word.start and segment.end + _SLACK < word.end:
        word.end = max(word.start + limits.median, segment.end)
    else:
        segment.end = word.end
