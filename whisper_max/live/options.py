"""The options of a live transcription."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from whisper_max.audio.mel import CHUNK_LENGTH
from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.transcribe.options import TranscribeOptions

LIVE_VAD = VadOptions(min_speech_duration_ms=96, min_silence_duration_ms=600, speech_pad_ms=300)
"""Speech is reported after 96 ms of it and over after 600 ms of silence; 300 ms are heard on both sides of it."""

AGREEMENT, ATTENTION = POLICIES = ("agreement", "attention")
"""When words are certain: LocalAgreement-2 (arXiv:2307.14743), or after AlignAtt (arXiv:2305.11408)."""
AUTO = "auto"
"""The policy that was measured to be the better one for a model."""
STEPS = {AGREEMENT: 1.0, ATTENTION: 0.6}
"""Seconds of new audio between two decodings, where nobody says how many."""
SHORT_STEP = 0.4
"""The same by attention, where a decoding encodes only what is new."""

_BY_ATTENTION = ((384, 4, False),)
"""Width and blocks of decoders, and whether they know many languages, of models whose words are as right by attention
as by agreement, and sooner (docs/live.md); tiny.en."""

_NOT_LIVE = (
    *("clip_timestamps", "chunk_length", "batch_size", "vad", "prefix", "first_prefix"),
    *("token_logprobs", "channels", "track", "strict", "speakers", "speaker_file"),
)
_SHORTEST_STEP = 0.1  # seconds
_SHORTEST_BUFFER = 4.0  # seconds; what is dropped at once from a full buffer is a quarter: more than a word


@dataclass(frozen=True)
class LiveOptions:
    """How to listen.

    decoding: how to decode; word timestamps are always on, and initial_prompt goes before every decoding. The options
        that cut a recording (clip_timestamps, batch_size, vad, vad_options) or are of files (track, strict) and prefix
        have no meaning here.
    step: least seconds of new audio between two decodings of an utterance. Longer steps come by themselves where more
        audio is fed at once, as it is when decoding takes longer than a step.
    buffer: most seconds of audio that are kept and decoded, up to the model's 30.
    vad: what counts as speech; None takes everything as one utterance, silence included.
    policy: when words are certain: once two decodings agree on them, or once the attention of a decoding says that they
        ended ``margin`` seconds before the audio did. By attention, decodings go on from the words that are certain.
    sure: by attention, words that are less likely wait for a second more.

    Raises:
        OptionError: a value that is impossible, or an option that has no meaning here.
    """

    decoding: TranscribeOptions = field(default_factory=TranscribeOptions)
    step: float = 1.0
    buffer: float = 25.0
    vad: VadOptions | None = LIVE_VAD
    policy: str = AGREEMENT
    margin: float = 0.3
    sure: float = 0.4

    def __post_init__(self) -> None:
        if not _SHORTEST_BUFFER <= self.buffer <= CHUNK_LENGTH:
            expected = f"{_SHORTEST_BUFFER} to {CHUNK_LENGTH} seconds"
            raise OptionError("out of range", where="buffer", expected=expected, found=self.buffer)
        if not _SHORTEST_STEP <= self.step <= self.buffer / 2:
            expected = f"{_SHORTEST_STEP} seconds to half the buffer"
            raise OptionError("out of range", where="step", expected=expected, found=self.step)
        if self.policy not in POLICIES:
            raise OptionError("unknown policy", where="policy", expected=" or ".join(POLICIES), found=repr(self.policy))
        if not 0 <= self.margin <= self.buffer / 2:
            expected = "0 seconds to half the buffer"
            raise OptionError("out of range", where="margin", expected=expected, found=self.margin)
        if not 0 <= self.sure <= 1:
            raise OptionError("out of range", where="sure", expected="a probability, 0 to 1", found=self.sure)
        _refuse_what_cuts(self.decoding)
        if self.vad is not None:
            self._check_vad(self.vad)
        object.__setattr__(self, "decoding", replace(self.decoding, word_timestamps=True))

    def _check_vad(self, vad: VadOptions) -> None:
        if vad.max_speech_duration_s < math.inf:
            raise OptionError("a live utterance has no longest duration", where="max_speech_duration_s")
        if vad.speech_pad_ms + vad.min_speech_duration_ms > self.buffer * 500:
            raise OptionError("more than half the buffer", where="speech_pad_ms", found=vad.speech_pad_ms)

    @property
    def before_samples(self) -> int:
        """How much is kept while nobody speaks: padding, and speech that is not reported yet."""
        if self.vad is None:
            return 0
        return _samples(self.vad.speech_pad_ms + self.vad.min_speech_duration_ms)

    @property
    def pad_samples(self) -> int:
        """What is heard on both sides of speech."""
        return 0 if self.vad is None else _samples(self.vad.speech_pad_ms)

    @property
    def step_samples(self) -> int:
        """``step`` at 16 kHz."""
        return _samples(self.step * 1000)

    @property
    def buffer_samples(self) -> int:
        """``buffer`` at 16 kHz."""
        return _samples(self.buffer * 1000)


def live_policy(policy: str, step: float | None, dims: ModelDimensions, *, whole_windows: bool) -> tuple[str, float]:
    """The policy and the step for a model, where ``AUTO`` and None leave them open; anything else is kept as it is.

    whole_windows: whether each decoding encodes all of the audio.
    """
    if policy == AUTO:
        known = (dims.n_text_state, dims.n_text_layer, dims.is_multilingual) in _BY_ATTENTION
        policy = ATTENTION if known else AGREEMENT
    if step is None:
        is_short = policy == ATTENTION and not whole_windows
        step = SHORT_STEP if is_short else STEPS.get(policy, STEPS[AGREEMENT])
    return policy, step


def live_vad(given: bool | VadOptions | Mapping[str, Any]) -> VadOptions | None:
    """What counts as speech: ``LIVE_VAD`` for True, or that with some fields changed by name; None for False.

    Raises:
        OptionError: an unknown name, or a value that is impossible.
    """
    if isinstance(given, bool):
        return LIVE_VAD if given else None
    if isinstance(given, VadOptions):
        return given
    unknown = sorted(set(given) - set(VadOptions.__dataclass_fields__))
    if unknown:
        raise OptionError(
            "unknown option", where=", ".join(unknown), expected=f"one of {', '.join(VadOptions.__dataclass_fields__)}"
        )
    return replace(LIVE_VAD, **given)


def _samples(milliseconds: float) -> int:
    return round(milliseconds * SAMPLE_RATE / 1000)


def _refuse_what_cuts(decoding: TranscribeOptions) -> None:
    plain = TranscribeOptions()
    if not isinstance(decoding.initial_prompt, str | None):
        raise OptionError("tokens are not offered in a live transcription", where="initial_prompt", expected="text")
    for name in _NOT_LIVE:
        if getattr(decoding, name) != getattr(plain, name):
            raise OptionError("has no meaning in a live transcription", where=name, found=getattr(decoding, name))
