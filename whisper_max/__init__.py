"""whisper_max: OpenAI Whisper on MAX Graph. Speech to text with no PyTorch at runtime.

``load_model`` and the names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from whisper_max.version import VERSION as __version__

if TYPE_CHECKING:
    from whisper_max.api import Model
    from whisper_max.audio.vad_options import VadOptions
    from whisper_max.errors import WhisperMaxError
    from whisper_max.load import load_model
    from whisper_max.transcribe.many import Outcome
    from whisper_max.transcribe.options import TranscribeOptions
    from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

_HOMES = {
    "Model": "whisper_max.api",
    "Outcome": "whisper_max.transcribe.many",
    "Segment": "whisper_max.transcribe.result",
    "TranscribeOptions": "whisper_max.transcribe.options",
    "TranscriptionResult": "whisper_max.transcribe.result",
    "VadOptions": "whisper_max.audio.vad_options",
    "WhisperMaxError": "whisper_max.errors",
    "Word": "whisper_max.transcribe.result",
    "load_model": "whisper_max.load",
}

__all__ = [
    "Model",
    "Outcome",
    "Segment",
    "TranscribeOptions",
    "TranscriptionResult",
    "VadOptions",
    "WhisperMaxError",
    "Word",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    return value
