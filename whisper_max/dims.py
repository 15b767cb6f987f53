"""The dimensions of a Whisper model: the one place where a size is a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelDimensions:
    """The ten sizes that define a Whisper architecture, in openai-whisper's names.

    n_mels: mel bins per frame (80 or 128).
    n_audio_ctx: encoder positions per 30 s window (1500).
    n_audio_state, n_audio_head, n_audio_layer: encoder width, heads and blocks.
    n_vocab: rows of the token embedding.
    n_text_ctx: decoder positions (448).
    n_text_state, n_text_head, n_text_layer: decoder width, heads and blocks.
    """

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def is_multilingual(self) -> bool:
        """True when the vocabulary holds the language tokens (the .en models end at 51864)."""
        return self.n_vocab >= 51865

    @property
    def num_languages(self) -> int:
        """Language tokens in the vocabulary: 99, or 100 since large-v3 (openai/whisper ``model.py``)."""
        return self.n_vocab - 51765 - int(self.is_multilingual)

    @property
    def n_frames(self) -> int:
        """Mel frames per window: the second convolution halves them to ``n_audio_ctx``."""
        return 2 * self.n_audio_ctx  # 3000
