"""The options of a transcription: openai-whisper's names and defaults, and those of decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from whisper_max.decode.fallback import Thresholds
from whisper_max.decode.options import DecodingOptions
from whisper_max.errors import OptionError

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class TranscribeOptions:
    """How to transcribe a recording; what decodes a window is described in ``DecodingOptions``.

    language: code, name or alias; None detects it in the first 30 s. temperature: one, or several to try in turn
        while the transcript of a window fails.
    compression_ratio_threshold, logprob_threshold, no_speech_threshold: when it fails, and when a window is silence
        (``Thresholds``).
    condition_on_previous_text: each window is prompted with the text before it. initial_prompt: text before the
        first window; carry_initial_prompt: before every window.
    clip_timestamps: start, end, start, end, ... in seconds, as numbers or as text with commas; the last end may be
        left out. Only these parts are transcribed.
    best_of counts at temperatures above 0; beam_size and patience at 0.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    language: str | None = None
    task: str = "transcribe"
    temperature: float | Sequence[float] = TEMPERATURES
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = True
    initial_prompt: str | None = None
    carry_initial_prompt: bool = False
    clip_timestamps: str | Sequence[float] = "0"
    sample_len: int | None = None
    best_of: int | None = None
    beam_size: int | None = None
    patience: float | None = None
    length_penalty: float | None = None
    prefix: str | Sequence[int] | None = None
    hotwords: str | None = None
    suppress_tokens: str | Sequence[int] | None = "-1"
    suppress_blank: bool = True
    suppress_regex: str | None = None
    suppress_numerals: bool = False
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperatures:
            raise OptionError("no temperature given", where="temperature")
        if self.carry_initial_prompt and self.initial_prompt is None:
            raise OptionError("carry_initial_prompt needs initial_prompt", where="carry_initial_prompt")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("patience needs beam_size", where="patience")
        self.ladder()
        _ = self.thresholds
        self.clip_seconds()

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in turn."""
        given = self.temperature
        return (float(given),) if isinstance(given, int | float) else tuple(float(each) for each in given)

    def ladder(self) -> list[DecodingOptions]:
        """The options of decoding at each temperature: beams at 0, samples above it."""
        return [self._at(temperature) for temperature in self.temperatures]

    def _at(self, temperature: float) -> DecodingOptions:
        sampling = temperature > 0
        return DecodingOptions(
            task=self.task,
            language=self.language,
            temperature=temperature,
            sample_len=self.sample_len,
            best_of=self.best_of if sampling else None,
            beam_size=None if sampling else self.beam_size,
            patience=None if sampling else self.patience,
            length_penalty=self.length_penalty,
            prefix=self.prefix,
            hotwords=self.hotwords,
            suppress_tokens=self.suppress_tokens,
            suppress_blank=self.suppress_blank,
            suppress_regex=self.suppress_regex,
            suppress_numerals=self.suppress_numerals,
            without_timestamps=self.without_timestamps,
            max_initial_timestamp=self.max_initial_timestamp,
            repetition_penalty=self.repetition_penalty,
            no_repeat_ngram_size=self.no_repeat_ngram_size,
            seed=self.seed,
        )

    @property
    def thresholds(self) -> Thresholds:
        """When a transcript fails."""
        return Thresholds(self.compression_ratio_threshold, self.logprob_threshold, self.no_speech_threshold)

    def clip_seconds(self) -> list[float]:
        """``clip_timestamps`` as numbers."""
        given = self.clip_timestamps
        try:
            return [float(each) for each in (given.split(",") if isinstance(given, str) else given) if each != ""]
        except ValueError as error:
            raise OptionError(
                "not a list of times",
                where="clip_timestamps",
                expected="seconds with commas between",
                found=repr(given),
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The effective options by name, JSON-serialisable."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
