"""What decoding a window gave, and whether that is good enough or the window is decoded again, less greedily."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from whisper_max.decode.loop import Loop
from whisper_max.errors import OptionError


@dataclass(frozen=True)
class Decoded:
    """The transcript of one window, in openai-whisper's names.

    tokens: sampled ids, timestamps included, without prompt and end. text: without timestamps, stripped.
    avg_logprob: sum of the log-probabilities, that of the end included, over ``len(tokens) + 1``.
    no_speech_prob: probability of the no-speech token at the start of the transcript.
    temperature: that of this decoding. compression_ratio: UTF-8 bytes of the text per byte once compressed.
    language_probs: probability of each language code, where the language was detected. token_logprobs: of each token,
    where they were asked for. loops: what it would have said over and over and was not allowed to.
    """

    language: str
    tokens: list[int]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    language_probs: dict[str, float] | None = None
    token_logprobs: list[float] | None = None
    loops: tuple[Loop, ...] = ()


def compression_ratio(text: str) -> float:
    """How many times shorter zlib makes the text: high for text that repeats itself, 0 for none."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


@dataclass(frozen=True)
class Thresholds:
    """The limits of a good transcript; None switches a limit off.

    compression_ratio: above it, the text repeats itself. logprob: an average log-probability below it is too
    unlikely. no_speech: above this probability of no speech, an unlikely transcript means silence and is no failure.
    """

    compression_ratio: float | None = 2.4
    logprob: float | None = -1.0
    no_speech: float | None = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and math.isnan(value):
                raise OptionError("not a number", where=f"{name}_threshold", found=value)

    def failed(self, decoded: Decoded) -> bool:
        """True where the window should be decoded again (openai/whisper ``transcribe.py``)."""
        repetitive = self.compression_ratio is not None and decoded.compression_ratio > self.compression_ratio
        unlikely = self.is_unlikely(decoded)
        silent = self.no_speech is not None and decoded.no_speech_prob > self.no_speech
        return (repetitive or unlikely) and not (unlikely and silent)

    def is_unlikely(self, decoded: Decoded) -> bool:
        """True where the model itself does not believe in the text."""
        return self.logprob is not None and decoded.avg_logprob < self.logprob

    def is_silence(self, decoded: Decoded) -> bool:
        """True where the window holds no speech: improbable speech, and no likely transcript to the contrary."""
        silent = self.no_speech is not None and decoded.no_speech_prob > self.no_speech
        likely = self.logprob is not None and decoded.avg_logprob > self.logprob
        return silent and not likely


NO_THRESHOLDS = Thresholds(None, None, None)
