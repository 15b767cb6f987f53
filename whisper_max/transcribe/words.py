"""The words of a window: asked of the model and given to its cut."""

from __future__ import annotations

from dataclasses import replace

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.decode.contract import Align
from whisper_max.transcribe.hallucination import skip_hallucinations
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.timing import WordTiming, add_words, alignment_tokens, find_words
from whisper_max.transcribe.window import Cut, Piece, end_of_speech


def time_words(piece: Piece, cut: Cut, align: Align) -> None:
    """Give a cut its words, and let them and the silence between them decide where to go on."""
    if cut.skipped:
        return
    _add(piece, cut.segments, _timings(piece, cut, align))
    end = end_of_speech(cut.segments)
    if not cut.ends_in_silence and end is not None and end > cut.window.start:
        cut.seek = round(end * FRAMES_PER_SECOND)
    threshold = piece.options.hallucination_silence_threshold
    if threshold is not None:
        skip_hallucinations(cut, piece.last_speech, piece.n_frames, threshold, piece.options.window_frames)


def attach_words(piece: Piece, cut: Cut, align: Align) -> None:
    """Give a cut its words, which change neither its times nor where to go on."""
    if not _text_tokens(piece, cut):
        return
    timed = [replace(segment) for segment in cut.segments]
    _add(piece, timed, _timings(piece, cut, align))
    for segment, other in zip(cut.segments, timed, strict=True):
        segment.words = other.words


def _text_tokens(piece: Piece, cut: Cut) -> list[int]:
    return [token for segment in cut.segments for token in segment.tokens if piece.tokenizer.is_text(token)]


def _timings(piece: Piece, cut: Cut, align: Align) -> list[WordTiming]:
    tokenizer, text_tokens = piece.tokenizer, _text_tokens(piece, cut)
    if not text_tokens:
        return []
    alignment = align(alignment_tokens(tokenizer, text_tokens), tokenizer.n_competing)
    return find_words(tokenizer, text_tokens, alignment, cut.window.size)


def _add(piece: Piece, segments: list[Segment], timings: list[WordTiming]) -> None:
    add_words(segments, timings, piece.options.punctuation, piece.tokenizer, piece.last_speech)
