"""The small functions of ``faster_whisper.transcribe`` that programs call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from whisper_max.compat.faster_whisper.results import Segment
from whisper_max.compat.faster_whisper.tokenizer import Tokenizer
from whisper_max.compat.faster_whisper.vad import SpeechTimestampsMap
from whisper_max.decode.decoded import compression_ratio
from whisper_max.transcribe.options import Punctuation
from whisper_max.transcribe.timing import WordTiming
from whisper_max.transcribe.timing import merge_punctuations as merge

get_compression_ratio = compression_ratio


def get_suppressed_tokens(tokenizer: Tokenizer, suppress_tokens: Iterable[int] | None) -> tuple[int, ...]:
    """The tokens that are never sampled, sorted: those given, -1 for the non-speech ones, and the special ones."""
    given = set(suppress_tokens or ())
    if -1 in given:
        given |= set(tokenizer.non_speech_tokens)
    special = {tokenizer.transcribe, tokenizer.translate, tokenizer.no_speech}
    special |= {tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm}
    return tuple(sorted((given | special) - {-1}))


def merge_punctuations(alignment: list[dict[str, Any]], prepended: str, appended: str) -> None:
    """Join marks with the word that they belong to, in place.

    Args:
        alignment: a dict of "word" and "tokens" for each word; what has been joined stays behind with nothing in them.
        prepended: marks that belong to the word after them.
        appended: marks that belong to the word before them.
    """
    words = [WordTiming(each["word"], list(each["tokens"]), 0.0, 0.0, 0.0) for each in alignment]
    merge(words, Punctuation(prepended, appended))
    for each, word in zip(alignment, words, strict=True):
        each["word"], each["tokens"] = word.word, word.tokens


def restore_speech_timestamps(
    segments: Iterable[Segment], speech_chunks: Sequence[dict[str, int]], sampling_rate: int
) -> Iterator[Segment]:
    """Segments of the speech with times in the recording, changed in place; each word stays within its span."""
    times = SpeechTimestampsMap(speech_chunks, sampling_rate)
    for segment in segments:
        for word in segment.words or ():
            span = times.get_chunk_index((word.start + word.end) / 2)
            word.start = times.get_original_time(word.start, span)
            word.end = times.get_original_time(word.end, span)
        if segment.words:
            segment.start, segment.end = segment.words[0].start, segment.words[-1].end
        else:
            segment.start = times.get_original_time(segment.start)
            segment.end = times.get_original_time(segment.end, is_end=True)
        yield segment
