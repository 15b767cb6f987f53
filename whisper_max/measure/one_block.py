"""One block of an encoder by its formulas, in NumPy and float64: what a compiled graph is held against."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from whisper_max.checkpoint.layout import tensor_shapes
from whisper_max.decode.contract import Float32
from whisper_max.dims import ModelDimensions

Float64 = NDArray[np.float64]
_EPSILON = 1e-5  # of a layer norm
_erf = np.vectorize(math.erf)


def random_tensors(dims: ModelDimensions) -> dict[str, Float32]:
    """A random state dict of these dimensions, always the same, of values that float16 holds."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in tensor_shapes(dims).items():
        is_norm = name.endswith("weight") and len(shape) == 1
        spread = 0.1 if len(shape) == 1 else 1 / math.sqrt(math.prod(shape[1:]))
        values = is_norm + spread * rng.standard_normal(shape)
        tensors[name] = values.astype(np.float16).astype(np.float32)
    return tensors


def encode(tensors: Mapping[str, Float32], mel: Float32, dims: ModelDimensions) -> Float64:
    """Audio features of one window, (n_audio_ctx, n_audio_state). mel: (n_mels, n_frames)."""
    x = _gelu(_conv(tensors, "encoder.conv1", mel.astype(np.float64), 1))
    x = _gelu(_conv(tensors, "encoder.conv2", x, 2)).T  # (T, n_state)
    x = x + tensors["encoder.positional_embedding"]
    for layer in range(dims.n_audio_layer):
        block = f"encoder.blocks.{layer}"
        x = x + _attention(tensors, f"{block}.attn", _norm(tensors, f"{block}.attn_ln", x), dims.n_audio_head)
        hidden = _gelu(_linear(tensors, f"{block}.mlp.0", _norm(tensors, f"{block}.mlp_ln", x)))
        x = x + _linear(tensors, f"{block}.mlp.2", hidden)
    return _norm(tensors, "encoder.ln_post", x)


def _conv(tensors: Mapping[str, Float32], name: str, x: Float64, stride: int) -> Float64:
    """Kernel 3, padding 1. x: (n_in, T) -> (n_out, T / stride)."""
    padded = np.pad(x, ((0, 0), (1, 1)))
    taps = np.stack([padded[:, tap : tap + x.shape[1] : stride] for tap in range(3)], axis=-1)  # (n_in, T, 3)
    found: Float64 = np.einsum("oik,itk->ot", tensors[f"{name}.weight"].astype(np.float64), taps)
    return found + tensors[f"{name}.bias"][:, None]


def _linear(tensors: Mapping[str, Float32], name: str, x: Float64) -> Float64:
    """x: (T, n_in) -> (T, n_out); a key has no bias."""
    y: Float64 = x @ tensors[f"{name}.weight"].T.astype(np.float64)
    return y + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else y


def _gelu(x: Float64) -> Float64:
    activated: Float64 = 0.5 * x * (1 + _erf(x / math.sqrt(2)))
    return activated


def _norm(tensors: Mapping[str, Float32], name: str, x: Float64) -> Float64:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
    normed: Float64 = centred / deviation * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
    return normed


def _attention(tensors: Mapping[str, Float32], name: str, x: Float64, n_head: int) -> Float64:
    """Every position over all others. x: (T, n_state), same shape out."""
    q, k, v = (
        _linear(tensors, f"{name}.{part}", x).reshape(len(x), n_head, -1).transpose(1, 0, 2)  # (H, T, hd)
        for part in ("query", "key", "value")
    )
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    attended = (weights @ v).transpose(1, 0, 2).reshape(len(x), -1)
    return _linear(tensors, f"{name}.out", attended)
