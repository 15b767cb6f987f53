"""The options of a transcription: openai-whisper's names and defaults, and those of decoding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from whisper_max.audio.vad_options import VadOptions
from whisper_max.decode.decoded import Thresholds
from whisper_max.decode.options import DecodingOptions, WindowOptions
from whisper_max.dims import CHUNK_LENGTH, FRAMES_PER_SECOND
from whisper_max.errors import OptionError
from whisper_max.options import check_ranges, option
from whisper_max.text.languages import spoken_language
from whisper_max.transcribe.speakers import SpeakerCount, speaker_count

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_TYPES = {
    **{"bool": bool, "int": int, "float": int | float, "str": str},
    **{"VadOptions": VadOptions, "Mapping[str, Any]": Mapping},
}
_ITEMS = {"Sequence[float]": "float", "Sequence[int]": "int"}
MOST_SIDE_BY_SIDE = 256  # windows in a batch; each takes memory of its own, 75 MB of base and 1 GB of large in float32
MIXED, SEPARATE = "mixed", "separate"  # channels
GUARDS = ("off", "mark", "drop")
HIGH_TEMPERATURE = 0.5  # text sampled above it is no good prompt (openai/whisper ``transcribe.py``)


@dataclass(frozen=True)
class Punctuation:
    """Marks that belong to the word after them (``prepended``) or before them (``appended``)."""

    prepended: str = "\"'“¿([{-"
    appended: str = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True)
class TranscribeOptions(WindowOptions):
    """How to transcribe a recording; what counts for each window is described at ``WindowOptions``.

    temperature: one, or several to try in turn while the transcript of a window fails (``Thresholds``). best_of counts
    above 0; beam_size and patience at 0. drop_unlikely: a window is silence also where every temperature up to one
    above 0.5 gave text less likely than logprob_threshold, as laughter, coughs and sneezes do. initial_prompt is text
    or tokens; with a batch_size above 1 it is before every window, and no text of another one is. clip_timestamps:
    start, end, start, end, ... in seconds, as numbers or as text with commas; the last end may be left out. channels:
    where they are separate, channels of the same sound are mixed, silent ones left out and quiet ones made louder;
    segments have the number of their channel and a speaker. track and strict are of files: an array is whole and has
    one track. guard: what becomes of text that was probably never said; unless it is off, windows with loops that
    nobody says are decoded again without them (``decode.loops``, ``transcribe.guard``). vad_options: what counts as
    speech, as ``VadOptions`` or its fields by name. vad and a batch_size above 1 take the extra ``vad``.

    Numbers may be NumPy's, and several of them an array or any other iterable. After construction they are Python's
    own, and condition_on_previous_text, carry_initial_prompt, drop_unlikely and vad_options hold the effective values.

    Raises:
        OptionError: a value that is impossible, or two options that contradict each other.
    """

    language_detection_segments: int = option(1, "windows of 30 s to detect the language in", least=1, most=1000)
    language_detection_threshold: float = option(
        0.5, "a window surer of its language than this decides alone", least=0, most=1
    )
    multilingual: bool = option(False, "detect the language of every window")
    temperature: float | Sequence[float] = option(TEMPERATURES, "0: most likely token; above 0: sample")
    compression_ratio_threshold: float | None = option(2.4, "a text that compresses better than this has failed")
    logprob_threshold: float | None = option(-1.0, "an average log probability below this has failed")
    no_speech_threshold: float | None = option(0.6, "a failed window with more no-speech than this is silence")
    drop_unlikely: bool | None = option(None, "no text of a window where no temperature helps; None: with vad")
    initial_prompt: str | Sequence[int] | None = option(
        None, "text that precedes the first window, for names and spelling"
    )
    first_prefix: str | None = option(None, "text that the recording's transcript begins with", doors=())
    carry_initial_prompt: bool = option(False, "put the initial prompt before every window")
    condition_on_previous_text: bool | None = option(None, "prompt with the text before; None: if not batched")
    prompt_reset_on_temperature: float = option(
        HIGH_TEMPERATURE, "text sampled above this temperature prompts no window"
    )
    clip_timestamps: str | Sequence[float] = option("0", "start,end,start,end,... in seconds: the parts to transcribe")
    chunk_length: int = option(CHUNK_LENGTH, "most seconds of a window", least=1, most=CHUNK_LENGTH)
    batch_size: int = option(
        1, "pieces of a recording, cut where nobody speaks, to decode side by side", least=1, most=MOST_SIDE_BY_SIDE
    )
    channels: str = option(
        MIXED, "separate: each channel is a speaker, and transcribed by itself", choices=(MIXED, SEPARATE)
    )
    speakers: int | str | None = option(
        None, "tell speakers apart: how many there are, MIN-MAX, or auto", unset="no speakers"
    )
    speaker_file: str | None = option(
        None, "voice prints: speakers in it have their names, and new ones are written to it", doors=("command",)
    )
    track: int | str | None = option(
        None, "of several audio tracks, the number from 1 or the language; None: the default one"
    )
    guard: str = option(
        "mark",
        "off, or what becomes of text that was probably never said: mark keeps it, drop leaves it out",
        choices=GUARDS,
    )
    strict: bool = option(False, "refuse a recording with anything damaged, missing or cut off, in place of a warning")
    vad: bool = option(False, "transcribe speech only, by voice activity detection")
    vad_options: VadOptions | Mapping[str, Any] | None = None
    word_timestamps: bool = option(False, "times for every word")
    prepend_punctuations: str = option(Punctuation.prepended, "punctuation that is joined to the next word")
    append_punctuations: str = option(Punctuation.appended, "punctuation that is joined to the word before")
    align_segments: bool = option(False, "start and end segments with their words, and break them at pauses")
    hallucination_silence_threshold: float | None = option(
        None,
        "skip silence longer than this, in seconds, around text that was probably never said; None: don't",
        least=0,
    )

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in _plain_values(self, values).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "language", spoken_language(self.language))
        check_batch_size(self.batch_size)
        check_ranges(self)
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
        if self.speakers is not None and self.channels == SEPARATE:
            raise OptionError("can't be given together with separate channels, each a speaker", where="speakers")
        if self.speaker_file is not None and self.speakers is None:
            raise OptionError("needs speakers", where="speaker_file")
        self._resolve_batch()
        self._resolve_vad()
        # parsed here, once
        _ = self.decodings, self.thresholds, self.clip_seconds, self.window_frames, self.speaker_count

    def _resolve_batch(self) -> None:
        """Set what depends on the batch size."""
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
    def parts_apart(self) -> bool:
        """Whether a recording is cut into pieces that need nothing of each other, to be done by several machines."""
        return self.batch_size > 1 and self.channels != SEPARATE

    @property
    def speech(self) -> VadOptions:
        """What counts as speech."""
        return self.vad_options if isinstance(self.vad_options, VadOptions) else VadOptions()

    @cached_property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in turn."""
        given = self.temperature
        return tuple(map(float, given)) if isinstance(given, Sequence) else (float(given),)

    @cached_property
    def decodings(self) -> list[DecodingOptions]:
        """The options of decoding at each temperature: beams at 0, samples above it."""
        return [self._at(temperature) for temperature in self.temperatures]

    def _at(self, temperature: float) -> DecodingOptions:
        values = {each.name: getattr(self, each.name) for each in fields(WindowOptions)}
        unused = ("beam_size", "patience") if temperature > 0 else ("best_of",)
        return DecodingOptions(temperature=temperature, **values | dict.fromkeys(unused))

    @cached_property
    def speaker_count(self) -> SpeakerCount | None:
        """How many speakers to tell apart; None: none."""
        return None if self.speakers is None else speaker_count(self.speakers)

    @cached_property
    def window_frames(self) -> int:
        """Most mel frames of a window."""
        return self.chunk_length * FRAMES_PER_SECOND

    @cached_property
    def thresholds(self) -> Thresholds:
        """When a transcript fails."""
        return Thresholds(self.compression_ratio_threshold, self.logprob_threshold, self.no_speech_threshold)

    @property
    def punctuation(self) -> Punctuation:
        """Which marks belong to which word."""
        return Punctuation(self.prepend_punctuations, self.append_punctuations)

    @cached_property
    def clip_seconds(self) -> list[float]:
        """``clip_timestamps`` as numbers."""
        given = self.clip_timestamps
        try:
            seconds = [float(each) for each in (given.split(",") if isinstance(given, str) else given) if each != ""]
        except (ValueError, OverflowError):
            seconds = [math.nan]
        if not all(map(math.isfinite, seconds)):
            expected = "seconds with commas between"
            raise OptionError("not a list of times", where="clip_timestamps", expected=expected, found=repr(given))
        return seconds

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
    value = given.tolist() if hasattr(given, "tolist") else given  # of NumPy, which need not be imported
    kinds = annotation.split(" | ")
    items = [_ITEMS[kind] for kind in kinds if kind in _ITEMS]
    if items and isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        several = [each.item() if hasattr(each, "item") else each for each in value]
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
