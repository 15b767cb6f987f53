"""The parts every block is made of: linear layers, layer norm, heads and attention.

On a CPU linear layers and attention are custom operations (``kernels/``). On a GPU they are stock operations.
"""

from __future__ import annotations

from math import prod
from typing import cast

from max.dtype import DType
from max.graph import BufferValue, TensorType, TensorValue, ops

from whisper_max.graph.weights import Weights

LAYER_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default, which Whisper was trained with


def linear(
    x: TensorValue,
    weights: Weights,
    name: str,
    n_in: int,
    n_out: int,
    *,
    bias: bool = True,
    gelu: bool = False,
    residual: TensorValue | None = None,
) -> TensorValue:
    """``x @ weight.T + bias``, then an exact (erf) GELU or the sum with a residual, where asked.

    x: (..., n_in) -> (..., n_out), the shape of residual.
    """
    if weights.device.is_cpu():
        return _panel_linear(x, weights, name, n_in, n_out, gelu=gelu, residual=residual)
    y = x @ ops.transpose((weights / name)("weight", n_out, n_in), 0, 1)
    y = y + (weights / name)("bias", n_out) if bias else y
    y = ops.gelu(y) if gelu else y
    return y if residual is None else residual + y


def _panel_linear(
    x: TensorValue,
    weights: Weights,
    name: str,
    n_in: int,
    n_out: int,
    *,
    gelu: bool,
    residual: TensorValue | None,
) -> TensorValue:
    """The same by the CPU's kernel; a layer without a bias has one of zeros."""
    leading = list(x.shape[:-1])
    rows = prod(leading[1:], start=leading[0])
    values = [x.reshape((rows, n_in)), *weights.operands(name, n_in, n_out)]
    result_type = TensorType(DType.float32, [rows, n_out], device=x.device)
    if residual is None:
        (y,) = ops.custom(
            weights.kernel("linear"), x.device, values, out_types=[result_type], parameters={"gelu": gelu}
        )
    else:
        values.insert(1, residual.reshape((rows, n_out)))
        (y,) = ops.custom(weights.kernel("linear_residual"), x.device, values, out_types=[result_type])
    return y.tensor.reshape((*leading, n_out))


def store_heads(
    target: BufferValue, x: TensorValue, weights: Weights, name: str, n_in: int, n_out: int, *, bias: bool = True
) -> None:
    """Fill a buffer (B, H, T, hd) with a linear layer's result by heads. x: (B, T, n_in); n_out: H * hd."""
    if not weights.device.is_cpu():
        y = linear(x, weights, name, n_in, n_out, bias=bias)
        ops.buffer_store(target, split_heads(y, int(target.shape[1])))
        return
    rows = x.reshape((x.shape[0] * x.shape[1], n_in))
    ops.inplace_custom(
        weights.kernel("linear_heads"),
        x.device,
        [target, rows, *weights.operands(name, n_in, n_out)],
        parameters={"head_dim": int(target.shape[3])},
    )


def layer_norm(x: TensorValue, weights: Weights, name: str, n_state: int) -> TensorValue:
    """Normalise the last axis in float32, whatever the compute dtype. x: (..., n_state), same shape out."""
    weight, bias = (weights / name)("weight", n_state), (weights / name)("bias", n_state)
    if x.dtype == DType.float32:
        return ops.layer_norm(x, weight, bias, LAYER_NORM_EPSILON)
    wide = (value.cast(DType.float32) for value in (x, weight, bias))
    return ops.layer_norm(*wide, LAYER_NORM_EPSILON).cast(x.dtype)


def mlp(x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
    """The residual of a block's second half: layer norm, two linear layers around a GELU. x: (..., n_state)."""
    normed = layer_norm(x, weights, "mlp_ln", n_state)
    hidden = linear(normed, weights, "mlp.0", n_state, 4 * n_state, gelu=True)
    return linear(hidden, weights, "mlp.2", 4 * n_state, n_state, residual=x)


def split_heads(x: TensorValue, n_head: int) -> TensorValue:
    """(B, T, n_state) -> (B, H, T, hd)."""
    batch, length, n_state = x.shape
    x = x.reshape((batch, length, n_head, int(n_state) // n_head))  # (B, T, H, hd)
    return ops.permute(x, [0, 2, 1, 3])


def merge_heads(x: TensorValue) -> TensorValue:
    """(B, H, T, hd) -> (B, T, n_state)."""
    batch, n_head, length, head_dim = x.shape
    return ops.permute(x, [0, 2, 1, 3]).reshape((batch, length, int(n_head) * int(head_dim)))


def scaled(q: TensorValue, n_head: int) -> TensorValue:
    """Queries times ``hd ** -0.5``; exact for the 64 wide heads of every published model. q: (..., n_state)."""
    return q * (int(q.shape[-1]) // n_head) ** -0.5


def attention(q: TensorValue, k: TensorValue, v: TensorValue, mask: TensorValue | None = None) -> TensorValue:
    """``softmax(q @ k^T + mask) @ v`` by stock operations, softmax in float32; q comes scaled.

    q: (B, H, T, hd); k, v: (B, H, S, hd); mask: broadcastable to (B, H, T, S), added. Returns (B, H, T, hd).
    """
    qk = q @ ops.transpose(k, -1, -2)  # (B, H, T, S)
    if mask is not None:
        qk = qk + mask
    return ops.softmax(qk.cast(DType.float32)).cast(v.dtype) @ v


def self_attention(qkv: TensorValue, n_head: int, mask: TensorValue | None = None) -> TensorValue:
    """A sequence over itself. qkv: (B, T, 3 * n_state) -> (B, T, n_state).

    mask: the causal mask (T, T), or None where every position sees all others.
    """
    batch, length, width = qkv.shape
    n_state = int(width) // 3
    if qkv.device.is_cpu():
        result_type = TensorType(qkv.dtype, [batch, length, n_state], device=qkv.device)
        parameters = {"head_dim": n_state // n_head, "causal": mask is not None}
        (attended,) = ops.custom(
            "whisper_max.self_attention", qkv.device, [qkv], out_types=[result_type], parameters=parameters
        )
        return cast(TensorValue, attended)
    q, k, v = ops.split(qkv, [n_state] * 3, axis=-1)
    q, k, v = (split_heads(part, n_head) for part in (scaled(q, n_head), k, v))
    return merge_heads(attention(q, k, v, mask))


def int8_self_attention(qkv: TensorValue, n_head: int, vnni: TensorValue) -> TensorValue:
    """The same on a CPU with products of 8 bit integers, without a mask. vnni: see ``Weights.vnni``."""
    batch, length, width = qkv.shape
    n_state = int(width) // 3
    result_type = TensorType(qkv.dtype, [batch, length, n_state], device=qkv.device)
    (attended,) = ops.custom(
        "whisper_max.int8_self_attention",
        qkv.device,
        [qkv, vnni],
        out_types=[result_type],
        parameters={"head_dim": n_state // n_head},
    )
    return cast(TensorValue, attended)


def cross_attention(q: TensorValue, keys: TensorValue, values: TensorValue) -> TensorValue:
    """A sequence over the audio. q: (B, T, n_state); keys, values: (B, H, S, hd). Returns (B, T, n_state)."""
    n_head, head_dim = int(keys.shape[1]), int(keys.shape[3])
    if q.device.is_cpu():
        (attended,) = ops.custom(
            "whisper_max.cross_attention",
            q.device,
            [q, keys, values],
            out_types=[q.type],
            parameters={"head_dim": head_dim},
        )
        return cast(TensorValue, attended)
    return merge_heads(attention(split_heads(scaled(q, n_head), n_head), keys, values))
