"""A decoder block for one new token a row in plain NumPy and float64, and random operands for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]
_erf = np.vectorize(math.erf)


def random_layers(rng: np.random.Generator, n: int, round_to: Callable[[Array], Array]) -> list[Array]:
    """A block's weights in the order of ``gpu.fast.block_layers``, rounded to a dtype."""

    def make(scale: float, *shape: int, around: float = 0.0) -> Array:
        return round_to((around + scale * rng.standard_normal(shape)).astype(np.float32))

    def norm() -> list[Array]:
        return [make(0.1, n, around=1.0), make(0.1, n)]

    def linear(n_in: int, n_out: int) -> list[Array]:
        return [make(1 / math.sqrt(n_in), n_out, n_in), make(0.1, n_out)]

    self_attention = [*norm(), *linear(n, 3 * n), *linear(n, n)]
    cross_attention = [*norm(), *linear(n, n), *linear(n, n)]
    return [*self_attention, *cross_attention, *norm(), *linear(n, 4 * n), *linear(4 * n, n)]


def token_block(
    x: Array,
    lengths: NDArray[np.int32],
    cache: Sequence[Array],
    audio: Sequence[Array],
    layers: Sequence[Array],
) -> tuple[Float64, Float64]:
    """The block's result, (rows, n_state), and the new keys and values, (2, rows, H, hd).

    x: (rows, n_state); cache: keys and values, (rows, H, capacity, hd) each, read up to lengths; audio: the same of the
    windows, (windows, H, n_audio, hd) each.
    """
    wide = [layer.astype(np.float64) for layer in layers]
    rows, n_head, _, head_dim = cache[0].shape
    n_hyps = rows // len(audio[0])
    stream = x.astype(np.float64)
    qkv = _normed(stream, wide[0:2]) @ wide[2].T + wide[3]
    q, *new = qkv.reshape(rows, 3, n_head, head_dim).transpose(1, 0, 2, 3)
    attended = []
    for row, length in enumerate(lengths):
        seen = [np.concatenate([s[row, :, :length], n[row][:, None]], 1) for s, n in zip(cache, new, strict=True)]
        attended.append(attend(q[row], *seen))
    stream = stream + np.stack(attended) @ wide[4].T + wide[5]
    q = (_normed(stream, wide[6:8]) @ wide[8].T + wide[9]).reshape(rows, n_head, head_dim)
    heard = [attend(q[row], audio[0][row // n_hyps], audio[1][row // n_hyps]) for row in range(rows)]
    stream = stream + np.stack(heard) @ wide[10].T + wide[11]
    hidden = _normed(stream, wide[12:14]) @ wide[14].T + wide[15]
    hidden = 0.5 * hidden * (1 + _erf(hidden / math.sqrt(2)))
    return stream + hidden @ wide[16].T + wide[17], np.stack(new)


def attend(q: NDArray[Any], k: NDArray[Any], v: NDArray[Any]) -> Float64:
    """One query of each head. q: (H, hd); k, v: (H, S, hd). Returns (H * hd,)."""
    scores = np.einsum("hd,hsd->hs", q, k, dtype=np.float64) / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    attended: Float64 = np.einsum("hs,hsd->hd", weights, v, dtype=np.float64)
    return attended.reshape(-1)


def row_logits(x: Array, norm: Sequence[Array], matrix: Array) -> Float64:
    """Logits of the normalised x. x: (rows, n_state); matrix: (n_vocab, n_state)."""
    return _normed(x.astype(np.float64), norm) @ matrix.astype(np.float64).T


def _normed(x: Float64, norm: Sequence[NDArray[Any]]) -> Float64:
    centred = x - x.mean(-1, keepdims=True)
    normed: Float64 = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * norm[0] + norm[1]
    return normed
