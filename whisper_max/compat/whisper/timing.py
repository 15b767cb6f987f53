"""openai-whisper's ``whisper.timing`` on NumPy arrays: when each word of a transcript is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_max.compat.whisper.audio import HOP_LENGTH, SAMPLE_RATE, TOKENS_PER_SECOND
from whisper_max.compat.whisper.decoding import EncodedAudio, embed_audio
from whisper_max.errors import NotOfferedError, OptionError
from whisper_max.text.tokenizer import Tokenizer
from whisper_max.transcribe import timing as native
from whisper_max.transcribe.alignment import MEDIAN_WIDTH
from whisper_max.transcribe.alignment import dtw as cheapest_path
from whisper_max.transcribe.alignment import median_filter as filtered
from whisper_max.transcribe.options import Punctuation
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.timing import WordTiming

if TYPE_CHECKING:
    from whisper_max.compat.whisper.model import Whisper

__all__ = [
    "HOP_LENGTH",
    "SAMPLE_RATE",
    "TOKENS_PER_SECOND",
    "WordTiming",
    "add_word_timestamps",
    "dtw",
    "dtw_cpu",
    "dtw_cuda",
    "find_alignment",
    "median_filter",
    "merge_punctuations",
]


def median_filter(x: NDArray[Any], filter_width: int) -> NDArray[Any]:
    """Each value replaced by the median of those around it along the last axis, the ends mirrored.

    Args:
        x: (..., n); a row no longer than half the width stays as it is.
        filter_width: odd.

    Raises:
        OptionError: a width that is even or below 1.
    """
    if filter_width < 1 or filter_width % 2 == 0:
        raise OptionError("no middle", where="filter_width", expected="an odd number", found=filter_width)
    return filtered(np.asarray(x), filter_width)


def dtw(x: NDArray[Any]) -> NDArray[np.intp]:
    """The cheapest monotonic path through a matrix of costs, (2, n_steps): its rows, and its columns."""
    return np.stack(cheapest_path(np.asarray(x, np.float64)))


dtw_cpu = dtw


def dtw_cuda(x: object, BLOCK_SIZE: int = 1024) -> NDArray[np.intp]:
    """Refused: it takes tensors of PyTorch on a GPU.

    Raises:
        NotOfferedError: always.
    """
    raise NotOfferedError("not offered", where="dtw_cuda", hint="dtw takes arrays")


def find_alignment(
    model: Whisper,
    tokenizer: Tokenizer,
    text_tokens: Sequence[int],
    mel: NDArray[Any] | EncodedAudio,
    num_frames: int,
    *,
    medfilt_width: int = MEDIAN_WIDTH,
    qk_scale: float = 1.0,
) -> list[WordTiming]:
    """The words of text tokens with their times in the window.

    Args:
        text_tokens: without timestamps.
        mel: (n_mels, 3000), or what ``embed_audio`` returned for one window.
        num_frames: mel frames of the window that are sound.
        medfilt_width, qk_scale: their defaults only.

    Raises:
        OptionError: a batch of windows, or another width or scale.
    """
    for name, given, expected in (("medfilt_width", medfilt_width, MEDIAN_WIDTH), ("qk_scale", qk_scale, 1.0)):
        if given != expected:
            raise OptionError("no other is offered", where=name, expected=expected, found=given)
    if not text_tokens:
        return []
    audio = embed_audio(model, mel)
    if audio.windows.n_windows != 1:
        raise OptionError("one at a time", where="mel", expected="one window", found=f"{audio.windows.n_windows}")
    batch = model.native.inference.new_batch(1)
    batch.put([0], audio.windows)
    alignment = batch.align(0, native.alignment_tokens(tokenizer, text_tokens), tokenizer.n_competing)
    return native.find_words(tokenizer, text_tokens, alignment, num_frames)


def merge_punctuations(alignment: list[WordTiming], prepended: str, appended: str) -> None:
    """Join marks with the word that they belong to, in place; what has been joined stays behind as an empty word."""
    native.merge_punctuations(alignment, Punctuation(prepended, appended))


def add_word_timestamps(
    *,
    segments: list[dict[str, Any]],
    model: Whisper,
    tokenizer: Tokenizer,
    mel: NDArray[Any] | EncodedAudio,
    num_frames: int,
    prepend_punctuations: str = Punctuation.prepended,
    append_punctuations: str = Punctuation.appended,
    last_speech_timestamp: float,
    **kwargs: Any,
) -> None:
    """Give the segments of one window their "words", and a "start" and an "end" that follow them, in place.

    Args:
        segments: dicts of "seek" (the window's first frame), "start", "end" and "tokens".
        mel: of the window.
        num_frames: mel frames of the window that are sound.
        last_speech_timestamp: when speech ended before this window, in seconds.
        kwargs: as ``find_alignment``.

    Raises:
        OptionError: as ``find_alignment``.
    """
    if not segments:
        return
    text_tokens = [token for each in segments for token in each["tokens"] if tokenizer.is_text(token)]
    timings = find_alignment(model, tokenizer, text_tokens, mel, num_frames, **kwargs)
    timed = [_segment(each) for each in segments]
    punctuation = Punctuation(prepend_punctuations, append_punctuations)
    native.add_words(timed, timings, punctuation, tokenizer, last_speech_timestamp)
    for each, segment in zip(segments, timed, strict=True):
        each["start"], each["end"] = segment.start, segment.end
        each["words"] = [word.to_dict() for word in segment.words or ()]


def _segment(given: dict[str, Any]) -> Segment:
    """What timing asks of a segment; the rest is nothing."""
    times = given["start"], given["end"]
    return Segment(0, given["seek"], *times, "", list(given["tokens"]), 0.0, 0.0, 0.0, 0.0)
