"""The options of a transcription: openai-whisper's names and defaults, and those of decoding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from whisper_max.audio.vad import VadOptions
from whisper_max.decode.fallback import Thresholds
from whisper_max.decode.options import DecodingOptions
from whisper_max.errors import OptionError
from whisper_max.transcribe.timing import Punctuation

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_TYPES = {
    **{"bool": bool, "int": int, "float": int | float, "str": str},
    **{"VadOptions": VadOptions, "Mapping[str, Any]": Mapping},
}
_ITEMS = {"Sequence[float]": "float", "Sequence[int]": "int"}
MOST_SIDE_BY_SIDE = 256  # windows in a batch; each takes memory of its own, 75 MB of base and 1 GB of large in float32
HIGH_TEMPERATURE = 0.5  # text sampled above it is no good prompt (openai/whisper ``transcribe.py``)


@dataclass(frozen=True)
class TranscribeOptions:
    """How to transcribe a recording; what decodes a window is described in ``DecodingOptions``.

    language: code, name or alias; None detects it. language_detection_segments: in how many windows of 30 s;
        language_detection_threshold: a window that is surer decides alone, else the most windows do. multilingual:
        detect the language of every window, for recordings in more than one.
    temperature: one, or several to try in turn
        while the transcript of a window fails.
    compression_ratio_threshold, logprob_threshold, no_speech_threshold: when it fails, and when a window is silence
        (``Thresholds``). drop_unlikely: a window is silence also where every temperature up to one above 0.5 gave text
        less likely than logprob_threshold, as laughter, coughs and sneezes do; None: with vad.
    condition_on_previous_text: each window is prompted with the text before it; None: True where windows come one
        after the other, False with a batch_size above 1. prompt_reset_on_temperature: text that was sampled above this
        temperature is no prompt for the next window. initial_prompt: text before the first window;
        carry_initial_prompt: before every window, as it always is with a batch_size above 1.
    clip_timestamps: start, end, start, end, ... in seconds, as numbers or as text with commas; the last end may be
        left out. Only these parts are transcribed.
    word_timestamps: time every word, by the attention of the model. prepend_punctuations, append_punctuations: marks
        that belong to the word after or before them. hallucination_silence_threshold: with word timestamps, skip
        silence longer than this many seconds around text that was probably never said.
    vad: transcribe speech only, and nothing where there is none. vad_options: what counts as speech, as ``VadOptions``
        or its fields by name. batch_size: above 1, cut the recording where nobody speaks and decode that many pieces,
        at most 256, side by side; it takes the extra ``vad`` too.
    best_of counts at temperatures above 0; beam_size and patience at 0.

    Numbers may be NumPy's, and several of them an array or any other iterable. After construction they are Python's
    own, and condition_on_previous_text, carry_initial_prompt, drop_unlikely and vad_options hold the effective values.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    language: str | None = None
    language_detection_segments: int = 1
    language_detection_threshold: float = 0.5
    multilingual: bool = False
    task: str = "transcribe"
    temperature: float | Sequence[float] = TEMPERATURES
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    drop_unlikely: bool | None = None
    condition_on_previous_text: bool | None = None
    prompt_reset_on_temperature: float = HIGH_TEMPERATURE
    initial_prompt: str | None = None
    carry_initial_prompt: bool = False
    clip_timestamps: str | Sequence[float] = "0"
    word_timestamps: bool = False
    prepend_punctuations: str = Punctuation.prepended
    append_punctuations: str = Punctuation.appended
    hallucination_silence_threshold: float | None = None
    vad: bool = False
    vad_options: VadOptions | Mapping[str, Any] | None = None
    batch_size: int = 1
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
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in _plain_values(self, values).items():
            object.__setattr__(self, name, value)
        if not self.temperatures:
            raise OptionError("no temperature given", where="temperature")
        if self.carry_initial_prompt and self.initial_prompt is None:
            raise OptionError("needs initial_prompt", where="carry_initial_prompt")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("needs beam_size", where="patience")
        if math.isnan(self.prompt_reset_on_temperature):
            raise OptionError("not a number", where="prompt_reset_on_temperature")
        if self.drop_unlikely and self.logprob_threshold is None:
            raise OptionError("needs logprob_threshold", where="drop_unlikely")
        _check_words(self)
        _check_languages(self)
        self._resolve_batch()
        self._resolve_vad()
        self.ladder()
        _ = self.thresholds
        self.clip_seconds()

    def _resolve_batch(self) -> None:
        """Set what depends on the batch size."""
        check_batch_size(self.batch_size)
        side_by_side = self.batch_size > 1
        if side_by_side and self.condition_on_previous_text:
            raise OptionError(
                "can't be given together with a batch_size above 1",
                where="condition_on_previous_text",
                hint="no text is known before a window that is decoded side by side with others",
            )
        if self.condition_on_previous_text is None:
            object.__setattr__(self, "condition_on_previous_text", not side_by_side)
        if side_by_side and self.initial_prompt is not None:
            object.__setattr__(self, "carry_initial_prompt", True)

    def _resolve_vad(self) -> None:
        """Set ``vad_options`` and ``drop_unlikely`` to what counts."""
        given = self.vad_options
        if self.drop_unlikely is None:
            object.__setattr__(self, "drop_unlikely", self.vad and self.logprob_threshold is not None)
        if not self.vad:
            if given is not None:
                raise OptionError("needs vad", where="vad_options")
            return
        if not isinstance(given, VadOptions):
            object.__setattr__(self, "vad_options", _vad_options(given or {}))

    @property
    def speech(self) -> VadOptions:
        """What counts as speech."""
        return self.vad_options if isinstance(self.vad_options, VadOptions) else VadOptions()

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in turn."""
        given = self.temperature
        return tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),)

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

    @property
    def punctuation(self) -> Punctuation:
        """Which marks belong to which word."""
        return Punctuation(self.prepend_punctuations, self.append_punctuations)

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
        if isinstance(self.vad_options, VadOptions):
            plain["vad_options"] = self.vad_options.to_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def check_batch_size(batch_size: int) -> None:
    """Refuse a number of windows that no machine decodes side by side.

    Raises:
        OptionError: such a number.
    """
    if not 1 <= batch_size <= MOST_SIDE_BY_SIDE:
        raise OptionError("out of range", where="batch_size", expected=f"1 to {MOST_SIDE_BY_SIDE}", found=batch_size)


def _vad_options(values: Mapping[str, Any]) -> VadOptions:
    known = VadOptions.__dataclass_fields__
    unknown = sorted(str(name) for name in values if name not in known)
    if unknown:
        raise OptionError(
            "unknown option", where=f"vad_options: {', '.join(unknown)}", expected=f"one of {', '.join(known)}"
        )
    return VadOptions(**_plain_values(VadOptions, values))


def _plain_values(options: type[VadOptions] | TranscribeOptions, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Python's own numbers and lists; refuses one of another type than its annotation, as "no" for False."""
    annotations = {field.name: str(field.type) for field in fields(options)}
    return {name: _plain_value(name, annotations[name], value) for name, value in values.items()}


def _plain_value(name: str, annotation: str, given: object) -> object:
    value = given.tolist() if isinstance(given, np.ndarray | np.generic) else given
    kinds = annotation.split(" | ")
    items = [_ITEMS[kind] for kind in kinds if kind in _ITEMS]
    if items and isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        several = [each.item() if isinstance(each, np.generic) else each for each in value]
        if all(_fits(each, items[0]) for each in several):
            return tuple(several) if isinstance(value, tuple) else several
    elif any(_fits(value, kind) for kind in kinds):
        return value
    raise OptionError("wrong type", where=name, expected=annotation, found=repr(given))


def _fits(value: object, kind: str) -> bool:
    if kind == "None":
        return value is None
    if isinstance(value, str | bool):
        return kind == ("str" if isinstance(value, str) else "bool")
    return kind in _TYPES and isinstance(value, _TYPES[kind])


def _check_languages(options: TranscribeOptions) -> None:
    if options.language_detection_segments < 1:
        raise OptionError(
            "out of range",
            where="language_detection_segments",
            expected="at least 1",
            found=options.language_detection_segments,
        )
    if not 0 <= options.language_detection_threshold <= 1:
        raise OptionError(
            "out of range",
            where="language_detection_threshold",
            expected="0 to 1",
            found=options.language_detection_threshold,
        )
    if options.multilingual and options.language is not None:
        raise OptionError(
            "can't be given together with language", where="multilingual", found=f"language {options.language}"
        )


def _check_words(options: TranscribeOptions) -> None:
    threshold = options.hallucination_silence_threshold
    if threshold is None:
        return
    if not options.word_timestamps:
        raise OptionError("needs word_timestamps", where="hallucination_silence_threshold")
    if not 0 <= threshold < math.inf:
        raise OptionError(
            "out of range", where="hallucination_silence_threshold", expected="0 or more", found=threshold
        )
