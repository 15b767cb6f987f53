"""Attention from stock operations: of sequences, and of one new token a row over the self cache and over the audio.

The latter run over the whole capacity, with the slots past a row's length masked out.
"""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, Dim, TensorValue, ops

MASKED = -1e30  # far below any score and finite, so that a masked softmax is never NaN


def attention(q: TensorValue, k: TensorValue, v: TensorValue, mask: TensorValue | None = None) -> TensorValue:
    """``softmax(q @ k^T + mask) @ v`` by stock operations, softmax in float32; q comes scaled.

    q: (B, H, T, hd); k, v: (B, H, S, hd); mask: broadcastable to (B, H, T, S), added. Returns (B, H, T, hd).
    """
    qk = q @ ops.transpose(k, -1, -2)  # (B, H, T, S)
    if mask is not None:
        qk = qk + mask
    return ops.softmax(qk.cast(DType.float32)).cast(v.dtype) @ v


def merge_heads(x: TensorValue) -> TensorValue:
    """(B, H, T, hd) -> (B, T, n_state)."""
    batch, n_head, length, head_dim = x.shape
    return ops.permute(x, [0, 2, 1, 3]).reshape((batch, length, int(n_head) * int(head_dim)))


def scaled(q: TensorValue, n_head: int) -> TensorValue:
    """Queries times ``hd ** -0.5``; exact for the 64 wide heads of every published model. q: (..., n_state)."""
    return q * (int(q.shape[-1]) // n_head) ** -0.5


def decode_self_attention(
    qkv: TensorValue, lengths: TensorValue, keys: BufferValue, values: BufferValue
) -> TensorValue:
    """Append a key and a value to each row of one layer's cache and attend over all of the row's tokens.

    qkv: (rows, 3 * n_state); lengths: (rows,) int32; keys, values: (rows, H, capacity, hd). Returns (rows, n_state).
    """
    rows, n_head, capacity, head_dim = keys.shape
    n_state = int(n_head) * int(head_dim)
    q, k, v = (part.reshape((rows, n_head, 1, head_dim)) for part in ops.split(qkv, [n_state] * 3, axis=-1))
    n_slots = ops.shape_to_tensor(keys.shape)[2].cast(DType.int32)
    slots = ops.range(0, n_slots, 1, out_dim=capacity, dtype=DType.int32, device=qkv.device)
    slots = slots.reshape((1, 1, capacity, 1))
    lengths = lengths.reshape((rows, 1, 1, 1))
    for buffer, new in ((keys, k), (values, v)):
        ops.buffer_store(buffer, ops.where(ops.equal(slots, lengths), new, ops.buffer_load(buffer)))
    unused = ops.greater(slots.reshape((1, 1, 1, capacity)), lengths)
    mask = unused.cast(DType.float32) * MASKED  # (rows, 1, 1, capacity)
    scores = (q * int(head_dim) ** -0.5) @ ops.transpose(ops.buffer_load(keys), -1, -2)
    scores = scores.cast(DType.float32) + mask  # (rows, H, 1, capacity)
    # Written out: with ops.softmax, MAX 26.7 on a CPU takes the first row's mask for all rows (findings/ shows how).
    weights = ops.exp(scores - ops.max(scores))
    attended = (weights / ops.sum(weights)).cast(qkv.dtype) @ ops.buffer_load(values)
    return attended.reshape((rows, n_state))


def decode_cross_attention(q: TensorValue, keys: TensorValue, values: TensorValue, batch: Sequence[Dim]) -> TensorValue:
    """Attend over the audio; a window's hypotheses share one read of its keys and values.

    q: (rows, n_state); keys, values: (windows, H, n_audio_ctx, hd); batch: the dimensions (windows, hyps), whose
    product is rows. Returns (rows, n_state).
    """
    rows, n_state = q.shape
    windows, n_head, _, head_dim = keys.shape
    q = scaled(q, int(n_head)).rebind((batch[0] * batch[1], n_state))
    q = ops.permute(q.reshape((windows, batch[1], n_head, head_dim)), [0, 2, 1, 3])
    attended = attention(q, keys, values)  # (windows, H, hyps, hd)
    flat = ops.permute(attended, [0, 2, 1, 3]).reshape((batch[0] * batch[1], n_state))
    return flat.rebind((rows, n_state))
