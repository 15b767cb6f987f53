"""faster-whisper's result types."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from whisper_max.compat.faster_whisper.vad import VadOptions
from whisper_max.transcribe import result as native


@dataclass
class _Dictionary:
    def _asdict(self) -> dict[str, Any]:
        """The fields by name. Deprecated, as it is there: ``dataclasses.asdict`` does the same."""
        warnings.warn("_asdict() is deprecated, use dataclasses.asdict", DeprecationWarning, stacklevel=2)
        return asdict(self)


@dataclass
class Word(_Dictionary):
    """One word; times in seconds."""

    start: float
    end: float
    word: str
    probability: float


@dataclass
class Segment(_Dictionary):
    """One segment with text. id: from 1. words: None unless they were asked for."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] | None
    temperature: float | None


@dataclass
class TranscriptionOptions:
    """The options as they were given, under their names here; ``temperatures`` is a list."""

    beam_size: int
    best_of: int
    patience: float
    length_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    log_prob_threshold: float | None
    no_speech_threshold: float | None
    compression_ratio_threshold: float | None
    condition_on_previous_text: bool
    prompt_reset_on_temperature: float
    temperatures: list[float]
    initial_prompt: str | Iterable[int] | None
    prefix: str | None
    suppress_blank: bool
    suppress_tokens: list[int] | None
    without_timestamps: bool
    max_initial_timestamp: float
    word_timestamps: bool
    prepend_punctuations: str
    append_punctuations: str
    multilingual: bool
    max_new_tokens: int | None
    clip_timestamps: Any
    hallucination_silence_threshold: float | None
    hotwords: str | None


@dataclass
class TranscriptionInfo:
    """What is known before the first segment.

    duration, duration_after_vad: seconds. all_language_probs: codes and probabilities, likeliest first; None where
    the language was given. vad_options: None without voice activity detection.
    """

    language: str
    language_probability: float
    duration: float
    duration_after_vad: float
    all_language_probs: list[tuple[str, float]] | None
    transcription_options: TranscriptionOptions
    vad_options: VadOptions | None


def from_native(segments: Iterable[native.Segment]) -> Iterable[Segment]:
    """Segments as the peer gives them: those with text, counted from 1."""
    spoken = (each for each in segments if each.text.strip() and each.start < each.end)
    for number, each in enumerate(spoken, start=1):
        words = None
        if each.words is not None:
            words = [Word(word.start, word.end, word.word, word.probability) for word in each.words]
        yield Segment(
            id=number,
            seek=each.seek,
            start=each.start,
            end=each.end,
            text=each.text,
            tokens=each.tokens,
            avg_logprob=each.avg_logprob,
            compression_ratio=each.compression_ratio,
            no_speech_prob=each.no_speech_prob,
            words=words,
            temperature=each.temperature,
        )
