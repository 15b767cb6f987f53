"""The words of a decoding, and what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whisper_max.decode.decoded import Thresholds
from whisper_max.live.events import LiveWord, Origin
from whisper_max.transcribe.result import Segment

_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "।", "۔", "؟")
_CLOSERS = "\"'”’»)]"  # what may follow the end of a sentence


def words_of(segments: Sequence[Segment], offset: float) -> list[LiveWord]:
    """The words of segments.

    Args:
        segments: with words.
        offset: seconds to add to their times.
    """
    spoken = [segment for segment in segments if segment.words]
    return [
        LiveWord(
            word=word.word,
            start=round(offset + word.start, 2),
            end=round(offset + word.end, 2),
            probability=word.probability,
            origin=_origin(segment),
            closes=word is (segment.words or [])[-1] and segment is not spoken[-1],
        )
        for segment in spoken
        for word in segment.words or ()
    ]


def _origin(segment: Segment) -> Origin:
    return Origin(
        segment.temperature, segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob, segment.doubt
    )


def trusted(segments: Sequence[Segment], thresholds: Thresholds) -> bool:
    """False where a segment repeats itself or is too unlikely, so that openai-whisper would decode it again."""
    ratio, logprob = thresholds.compression_ratio, thresholds.logprob
    return all(
        (ratio is None or segment.compression_ratio <= ratio) and (logprob is None or segment.avg_logprob >= logprob)
        for segment in segments
    )


def without_mark(word: LiveWord) -> LiveWord:
    """The word without the marks behind it; marks alone as they are."""
    said = word.word.rstrip(f"{''.join(_SENTENCE_ENDS)}{_CLOSERS},;:")
    return replace(word, word=said) if said.strip() else word


def ends_sentence(word: LiveWord) -> bool:
    """True where a sentence ends with the word."""
    return word.word.rstrip().rstrip(_CLOSERS).endswith(_SENTENCE_ENDS)
