"""What decoding one window returns."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class DecodingResult:
    """The transcript of one window, in openai-whisper's names.

    tokens: sampled ids, timestamps included, without prompt and end. text: without timestamps, stripped.
    avg_logprob: sum of the log-probabilities, that of the end included, over ``len(tokens) + 1``.
    no_speech_prob: probability of the no-speech token at the start of the transcript.
    temperature: that of this decoding. compression_ratio: UTF-8 bytes of the text per byte once compressed.
    language_probs: probability of each language code, where the language was detected.
    """

    language: str
    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    language_probs: dict[str, float] | None = None


def compression_ratio(text: str) -> float:
    """How many times shorter zlib makes the text: high for text that repeats itself, 0 for none."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))
