"""Transcribing while somebody speaks: feed samples, get words."""

from whisper_max.live.events import (
    Closed,
    Committed,
    LiveEvent,
    LiveWord,
    SpeakersHeard,
    SpeechEnded,
    Tentative,
    UtteranceEnded,
    UtteranceStarted,
)
from whisper_max.live.options import LiveOptions
from whisper_max.live.transcriber import LiveTranscriber
from whisper_max.live.transcript import LiveTranscript

__all__ = [
    "Closed",
    "Committed",
    "LiveEvent",
    "LiveOptions",
    "LiveTranscriber",
    "LiveTranscript",
    "LiveWord",
    "SpeakersHeard",
    "SpeechEnded",
    "Tentative",
    "UtteranceEnded",
    "UtteranceStarted",
]
