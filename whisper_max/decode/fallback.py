"""When a transcript is not good enough and its window is decoded again at a higher temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass

from whisper_max.decode.result import DecodingResult
from whisper_max.errors import OptionError


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

    def failed(self, result: DecodingResult) -> bool:
        """True where the window should be decoded again (openai/whisper ``transcribe.py``)."""
        repetitive = self.compression_ratio is not None and result.compression_ratio > self.compression_ratio
        unlikely = self.is_unlikely(result)
        silent = self.no_speech is not None and result.no_speech_prob > self.no_speech
        return (repetitive or unlikely) and not (unlikely and silent)

    def is_unlikely(self, result: DecodingResult) -> bool:
        """True where the model itself does not believe in the text."""
        return self.logprob is not None and result.avg_logprob < self.logprob

    def is_silence(self, result: DecodingResult) -> bool:
        """True where the window holds no speech: improbable speech, and no likely transcript to the contrary."""
        silent = self.no_speech is not None and result.no_speech_prob > self.no_speech
        likely = self.logprob is not None and result.avg_logprob > self.logprob
        return silent and not likely


NO_THRESHOLDS = Thresholds(None, None, None)
