"""The settings of a realtime session: OpenAI's fields, in both of its shapes, and what they mean to the transcriber."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whisper_max.live.options import LIVE_VAD, LiveOptions, live_vad
from whisper_max.server.errors import APIError
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.speakers import SpeakerCount, speaker_count

DEFAULT_RATE = 24000  # Hz, OpenAI's only rate
G711 = ("audio/pcmu", "audio/pcma")
G711_RATE = 8000
SHORTEST_SILENCE_MS = 100  # that ends a turn
FLAT_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
"""Names of formats in the older shape of settings."""
FLAT_PLACES = {
    "input_audio_format": "format",
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
    "input_audio_noise_reduction": "noise_reduction",
}
"""Names of settings in the older shape, and in ``audio.input`` of the newer one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Format(_Strict):
    """16-bit little-endian samples of one channel, or a byte each (G.711) at 8000; other rates than 24000 are ours."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Annotated[int, Field(ge=8000, le=48000)] = DEFAULT_RATE


class Transcription(_Strict):
    """The model by its id here, the language by code or name, and text before the first words.

    guard and speakers are ours: how many speakers to tell apart, MIN-MAX or auto.
    """

    model: Annotated[str, Field(max_length=200)] | None = None
    language: Annotated[str, Field(max_length=50)] | None = None
    prompt: Annotated[str, Field(max_length=1 << 20)] | None = None  # a message has no more
    guard: Literal["off", "mark", "drop"] = "mark"
    speakers: int | Annotated[str, Field(max_length=30)] | None = None


class ServerVad(_Strict):
    """When an utterance starts and ends; OpenAI's names and defaults."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] | None = None
    silence_duration_ms: Annotated[int, Field(ge=SHORTEST_SILENCE_MS, le=30000)] | None = None


class AudioInput(_Strict):
    """What is heard, and how; noise reduction is not done here."""

    format: Format = Field(default_factory=Format)
    transcription: Transcription = Field(default_factory=Transcription)
    turn_detection: ServerVad | None = Field(default_factory=lambda: ServerVad(type="server_vad"))
    noise_reduction: None = None


class Audio(_Strict):
    """The audio of a session, which goes one way."""

    input: AudioInput = Field(default_factory=AudioInput)


class SessionSettings(_Strict):
    """A transcription session."""

    type: Literal["transcription"] = "transcription"
    audio: Audio = Field(default_factory=Audio)
    include: Annotated[list[str], Field(max_length=0)] | None = None

    @property
    def heard(self) -> AudioInput:
        return self.audio.input

    def live_options(self) -> LiveOptions:
        """How to listen.

        Raises:
            OptionError: a language that is none.
        """
        transcription, vad = self.heard.transcription, self.heard.turn_detection
        decoding = TranscribeOptions(
            language=transcription.language or None,
            initial_prompt=transcription.prompt or None,
            guard=transcription.guard,
        )
        return LiveOptions(decoding, vad=None if vad is None else live_vad(_vad_fields(vad)))

    @property
    def speaker_count(self) -> SpeakerCount | None:
        """How many speakers to tell apart; None: none.

        Raises:
            OptionError: an impossible number.
        """
        speakers = self.heard.transcription.speakers
        return None if speakers is None else speaker_count(speakers)

    def updated(self, changes: Mapping[str, Any]) -> SessionSettings:
        """With the fields that are given changed.

        Raises:
            APIError: 400, a field that is unknown or impossible.
        """
        return _validated(_merged(self.model_dump(), changes))

    def flat(self) -> dict[str, Any]:
        """In the shape of ``transcription_session.update``."""
        heard = self.heard
        return {
            "input_audio_format": next(name for name, type in FLAT_FORMATS.items() if type == heard.format.type),
            "input_audio_transcription": heard.transcription.model_dump(),
            "turn_detection": None if heard.turn_detection is None else heard.turn_detection.model_dump(),
            "input_audio_noise_reduction": None,
            "include": self.include,
        }


def _vad_fields(vad: ServerVad) -> dict[str, Any]:
    """OpenAI ends a turn after 500 ms of silence where nothing else is said."""
    silence = 500 if vad.silence_duration_ms is None else vad.silence_duration_ms
    return {
        "threshold": LIVE_VAD.threshold if vad.threshold is None else vad.threshold,
        "speech_pad_ms": LIVE_VAD.speech_pad_ms if vad.prefix_padding_ms is None else vad.prefix_padding_ms,
        "min_silence_duration_ms": silence,
    }


def _merged(old: Any, new: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(old, dict) and isinstance(new, Mapping):
        return {**old, **{name: _merged(old.get(name), value) for name, value in new.items()}}
    return new


def _validated(fields: object) -> SessionSettings:
    try:
        return SessionSettings.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in ("session", *first["loc"]))
        raise _refused(first["msg"][:200], place[:200]) from error


def _refused(message: str, param: str) -> APIError:
    return APIError(400, f"{param}: {message}"[:500], code="invalid_value", param=param)
