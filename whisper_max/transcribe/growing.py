"""A recording that grows and is decoded again and again: its window is encoded by what knows how it began."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import Waveform
from whisper_max.decode.contract import AudioFeatures, Float32
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.tidy import Tidy
from whisper_max.transcribe.window import Window

Encode = Callable[[Float32], AudioFeatures]
"""The features of one window, (n_mels, n_frames), as it is now; they are good until the next call."""


class GrowingWindow(Protocol):
    """The window of a stream, which knows how it was encoded last (``engine.renewal.GrowingWindow``)."""

    def encode(self, mel: Float32, start: int, *, brief: bool = False) -> AudioFeatures:
        """As ``Encode``; start: of the window in the stream. One that begins elsewhere is another.

        brief: encode of another one only what matters most, where that is quicker.
        """


class GrowingRecording(Recording):
    """The recording as it is now. Its first window is encoded by ``encode``; the rest as ``Recording``."""

    def __init__(
        self,
        encode: Encode,
        vocabulary: Vocabulary,
        mel: MelWindows,
        options: TranscribeOptions,
        tidy: Tidy | None,
        heard: Waveform,
    ) -> None:
        super().__init__(vocabulary, mel, options, tidy=tidy, heard=heard)
        self._encode = encode

    def encoded(self, window: Window) -> AudioFeatures | None:
        """The features of the first window, made now."""
        whole = super().encoded(window)
        return self._encode(self.mel.window(0, window.size)) if whole is None and window.seek == 0 else whole
