"""Whisper in plain NumPy and float64, straight from the architecture's formulas: what the graphs are tested against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.dims import ModelDimensions

Float64 = NDArray[np.float64]


def random_tensors(dims: ModelDimensions, seed: int) -> dict[str, NDArray[np.float32]]:
    """A random state dict in openai-whisper's names, float32."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}

    def make(name: str, *shape: int, scale: float | None = None, around: float = 0.0) -> None:
        scale = 1 / math.sqrt(shape[-1]) if scale is None else scale
        tensors[name] = (around + scale * rng.standard_normal(shape)).astype(np.float32)

    def norm(name: str, n: int) -> None:
        make(f"{name}.weight", n, scale=0.1, around=1.0)
        make(f"{name}.bias", n, scale=0.1)

    def linear(name: str, n_in: int, n_out: int, bias: bool = True) -> None:
        make(f"{name}.weight", n_out, n_in)
        if bias:
            make(f"{name}.bias", n_out, scale=0.1)

    def attention(name: str, n: int, n_kv: int) -> None:
        linear(f"{name}.query", n, n)
        linear(f"{name}.key", n_kv, n, bias=False)
        linear(f"{name}.value", n_kv, n)
        linear(f"{name}.out", n, n)

    def block(name: str, n: int, cross: bool) -> None:
        attention(f"{name}.attn", n, n)
        norm(f"{name}.attn_ln", n)
        if cross:
            attention(f"{name}.cross_attn", n, dims.n_audio_state)
            norm(f"{name}.cross_attn_ln", n)
        linear(f"{name}.mlp.0", n, 4 * n)
        linear(f"{name}.mlp.2", 4 * n, n)
        norm(f"{name}.mlp_ln", n)

    d, n = dims.n_audio_state, dims.n_text_state
    for name, n_in in (("conv1", dims.n_mels), ("conv2", d)):
        make(f"encoder.{name}.weight", d, n_in, 3, scale=1 / math.sqrt(3 * n_in))
        make(f"encoder.{name}.bias", d, scale=0.1)
    make("encoder.positional_embedding", dims.n_audio_ctx, d, scale=0.3)
    for layer in range(dims.n_audio_layer):
        block(f"encoder.blocks.{layer}", d, cross=False)
    norm("encoder.ln_post", d)
    make("decoder.token_embedding.weight", dims.n_vocab, n, scale=0.3)
    make("decoder.positional_embedding", dims.n_text_ctx, n, scale=0.3)
    for layer in range(dims.n_text_layer):
        block(f"decoder.blocks.{layer}", n, cross=True)
    norm("decoder.ln", n)
    return tensors


@dataclass
class NumpyWhisper:
    """The model; every method takes one window or one sequence, without a batch dimension."""

    dims: ModelDimensions
    tensors: dict[str, NDArray[np.float32]]

    def stages(self, mel: NDArray[np.float32]) -> dict[str, Float64]:
        """mel: (n_mels, n_frames) -> every stage of the encoder, (n_audio_ctx, n_audio_state)."""
        x = self._gelu(self._conv("encoder.conv1", mel.astype(np.float64), 1))
        x = self._gelu(self._conv("encoder.conv2", x, 2)).T
        stages = {"conv_stem": x}
        x = stages["conv_stem+positional_embedding"] = x + self._t("encoder.positional_embedding")
        for layer in range(self.dims.n_audio_layer):
            name = f"encoder.blocks.{layer}"
            normed = self._norm(f"{name}.attn_ln", x)
            x = x + self._attention(f"{name}.attn", normed, normed, self.dims.n_audio_head)[0]
            x = stages[f"encoder.block.{layer}"] = x + self._mlp(name, x)
        stages["ln_post"] = self._norm("encoder.ln_post", x)
        return stages

    def decode(self, tokens: Sequence[int], xa: NDArray[Any]) -> tuple[Float64, list[Float64]]:
        """Logits (T, n_vocab) over a whole sequence, and each layer's cross-attention weights (H, T, n_audio_ctx)."""
        x = self._t("decoder.token_embedding.weight")[tokens] + self._t("decoder.positional_embedding")[: len(tokens)]
        mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        weights = []
        for layer in range(self.dims.n_text_layer):
            name = f"decoder.blocks.{layer}"
            normed = self._norm(f"{name}.attn_ln", x)
            x = x + self._attention(f"{name}.attn", normed, normed, self.dims.n_text_head, mask)[0]
            normed = self._norm(f"{name}.cross_attn_ln", x)
            attended, attention = self._attention(f"{name}.cross_attn", normed, xa, self.dims.n_text_head)
            weights.append(attention)
            x = x + attended
            x = x + self._mlp(name, x)
        matrix = LOGITS if LOGITS in self.tensors else TOKEN_EMBEDDING
        return self._norm("decoder.ln", x) @ self._t(matrix).T, weights

    def _t(self, name: str) -> Float64:
        return self.tensors[name].astype(np.float64)

    def _linear(self, name: str, x: NDArray[Any]) -> Float64:
        y: Float64 = x @ self._t(f"{name}.weight").T
        return y + self._t(f"{name}.bias") if f"{name}.bias" in self.tensors else y

    def _conv(self, name: str, x: Float64, stride: int) -> Float64:
        padded = np.pad(x, ((0, 0), (1, 1)))
        taps = np.stack([padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)], axis=-1)  # (n_in, T, 3)
        found: Float64 = np.einsum("oik,itk->ot", self._t(f"{name}.weight"), taps, optimize=True)
        return found + self._t(f"{name}.bias")[:, None]

    def _gelu(self, x: Float64) -> Float64:
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    def _norm(self, name: str, x: Float64) -> Float64:
        centred = x - x.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return normed * self._t(f"{name}.weight") + self._t(f"{name}.bias")

    def _mlp(self, name: str, x: Float64) -> Float64:
        return self._linear(f"{name}.mlp.2", self._gelu(self._linear(f"{name}.mlp.0", self._norm(f"{name}.mlp_ln", x))))

    def _attention(
        self, name: str, x: Float64, source: NDArray[Any], n_head: int, mask: Float64 | float = 0.0
    ) -> tuple[Float64, Float64]:
        def heads(y: Float64) -> Float64:
            return y.reshape(len(y), n_head, -1).transpose(1, 0, 2)  # (H, T, hd)

        q, k, v = (heads(self._linear(f"{name}.{p}", y)) for p, y in (("query", x), ("key", source), ("value", source)))
        weights: Float64 = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        weights += mask  # in place from here on: of a window these are hundreds of megabytes a layer
        weights -= weights.max(-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(-1, keepdims=True)
        attended = (weights @ v).transpose(1, 0, 2).reshape(len(x), -1)
        return self._linear(f"{name}.out", attended), weights
