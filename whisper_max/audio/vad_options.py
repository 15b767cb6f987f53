"""What counts as speech: the options of voice activity detection.

Their defaults but one, and what they mean, are faster-whisper's (``vad.py``), which are Silero's own.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from whisper_max.dims import SAMPLE_RATE
from whisper_max.errors import OptionError
from whisper_max.options import check_ranges, option

VAD_CHUNK = 512  # samples, 32 ms: what the model hears at a time


@dataclass(frozen=True)
class VadOptions:
    """What counts as speech.

    neg_threshold: None is at least 0.01. min_speech_duration_ms: before padding; Silero's default, since clicks are no
    speech; faster-whisper keeps everything (0). max_speech_duration_s: the cut is at the last silence of 98 ms, if it
    has one. speech_pad_ms: where two spans would overlap they meet halfway.

    Raises:
        OptionError: a value that is impossible, or two that contradict each other; options are named as on the command
            line, with "vad_" before them.
    """

    threshold: float = option(0.5, "probability at which speech begins", least=0, most=1)
    neg_threshold: float | None = option(
        None, "probability below which it ends", least=0, most=1, unset="0.15 less than vad_threshold"
    )
    min_speech_duration_ms: float = option(250, "shorter speech is dropped", least=0)
    max_speech_duration_s: float = option(math.inf, "longer speech is cut", unset="no limit")
    min_silence_duration_ms: float = option(2000, "shorter silence does not part speech", least=0)
    speech_pad_ms: float = option(400, "kept on both sides of speech", least=0)

    def __post_init__(self) -> None:
        check_ranges(self, "vad_")
        if self.neg_threshold is not None and self.neg_threshold > self.threshold:
            raise OptionError("above vad_threshold", where="vad_neg_threshold", found=self.neg_threshold)
        if not self.longest_speech > 0:
            raise OptionError(
                "leaves nothing between two vad_speech_pad_ms",
                where="vad_max_speech_duration_s",
                found=self.max_speech_duration_s,
            )

    @property
    def silence_threshold(self) -> float:
        """The effective ``neg_threshold``."""
        return max(self.threshold - 0.15, 0.01) if self.neg_threshold is None else self.neg_threshold

    @property
    def longest_speech(self) -> float:
        """Samples of speech before it is cut, padding apart."""
        return SAMPLE_RATE * self.max_speech_duration_s - VAD_CHUNK - 2 * in_samples(self.speech_pad_ms)

    def to_dict(self) -> dict[str, Any]:
        """The options by name, JSON-serialisable: None where ``max_speech_duration_s`` sets no limit."""
        limit = None if math.isinf(self.max_speech_duration_s) else self.max_speech_duration_s
        return asdict(self) | {"max_speech_duration_s": limit}


def in_samples(milliseconds: float) -> float:
    """Milliseconds as samples at 16 kHz."""
    return SAMPLE_RATE * milliseconds / 1000
