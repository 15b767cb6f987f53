"""What each stage of the model has to do at least, from its dimensions: arithmetic, and bytes that are read."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_max.dims import ModelDimensions
from whisper_max.measure.peaks import Peaks


@dataclass(frozen=True)
class Work:
    """flops: multiplications and additions. n_bytes: weights and caches that are read at least once."""

    flops: float
    n_bytes: float

    def floor(self, peaks: Peaks) -> float:
        """Seconds that it takes at least."""
        return max(self.flops / peaks.flops, self.n_bytes / peaks.bandwidth)


@dataclass(frozen=True)
class Costs:
    """The work of each stage, from the dimensions.

    weight_bytes: of one number of a matrix, as the engine keeps it. cache_bytes: of one in cross keys and values.
    """

    dims: ModelDimensions
    weight_bytes: int = 4
    cache_bytes: int = 4

    def encode(self, n_windows: int) -> Work:
        """Convolutions and blocks; positions see each other twice, for the scores and for their sum."""
        dims = self.dims
        n, width = dims.n_audio_ctx, dims.n_audio_state
        conv = 2 * 3 * dims.n_mels * width * dims.n_frames + 2 * 3 * width * width * n
        block = 2 * 12 * n * width * width + 4 * n * n * width
        weights = 3 * dims.n_mels * width + 3 * width * width + 12 * dims.n_audio_layer * width * width
        return Work(n_windows * (conv + dims.n_audio_layer * block), weights * self.weight_bytes)

    def cross_kv(self, n_windows: int) -> Work:
        """A key and a value of every position in every block of the decoder."""
        dims = self.dims
        weights = 2 * dims.n_text_layer * dims.n_text_state**2
        return Work(n_windows * 2 * dims.n_audio_ctx * weights, weights * self.weight_bytes)

    def decode(self, n_tokens: int, n_windows: int, n_logits: int) -> Work:
        """Tokens of some windows through the decoder; logits of some of them. What they see of each other is left out.

        Every weight is read once for all, and each window's cross keys and values.
        """
        dims = self.dims
        width, layers = dims.n_text_state, dims.n_text_layer
        blocks, logits = 14 * layers * width * width, dims.n_vocab * width
        cross = 2 * layers * dims.n_audio_ctx * width  # numbers a window
        flops = 2 * n_tokens * (blocks + cross) + 2 * n_logits * logits
        return Work(flops, (blocks + logits) * self.weight_bytes + n_windows * cross * self.cache_bytes)
