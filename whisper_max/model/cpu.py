"""``ops.Ops`` on a CPU: operations of our own (``kernels/``), all in float32 between matrices in panels.

Several layers are one operation where that saves waking threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from max.dtype import DType
from max.graph import BufferValue, Dim, TensorType, TensorValue, ops

from whisper_max.model.cpu_alignment import alignment as alignment
from whisper_max.model.cpu_alignment import target_probs as target_probs
from whisper_max.model.layers import norm_operands
from whisper_max.model.weights import Weights


def linear(
    x: TensorValue,
    weights: Weights,
    name: str,
    n_in: int,
    n_out: int,
    *,
    bias: bool = True,  # a layer without one has one of zeros
    gelu: bool = False,
    residual: TensorValue | None = None,
) -> TensorValue:
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


def normed_linear(
    x: TensorValue, weights: Weights, norm: str, name: str, n_in: int, n_out: int, *, bias: bool = True
) -> TensorValue:
    leading = list(x.shape[:-1])
    rows = prod(leading[1:], start=leading[0])
    (y,) = ops.custom(
        weights.kernel("normed_linear"),
        x.device,
        [x.reshape((rows, n_in)), *norm_operands(weights / norm, n_in), *weights.operands(name, n_in, n_out)],
        out_types=[TensorType(DType.float32, [rows, n_out], device=x.device)],
    )
    return y.tensor.reshape((*leading, n_out))


def store_heads(
    target: BufferValue, x: TensorValue, weights: Weights, name: str, n_in: int, n_out: int, *, bias: bool = True
) -> None:
    rows = x.reshape((x.shape[0] * x.shape[1], n_in))
    ops.inplace_custom(
        weights.kernel("linear_heads"),
        x.device,
        [target, rows, *weights.operands(name, n_in, n_out)],
        parameters={"head_dim": int(target.shape[3])},
    )


def mlp(x: TensorValue, weights: Weights, n_state: int) -> TensorValue:
    leading = list(x.shape[:-1])
    rows = prod(leading[1:], start=leading[0])
    values = [
        x.reshape((rows, n_state)),
        *norm_operands(weights / "mlp_ln", n_state),
        *weights.layer("mlp.0", n_state, 4 * n_state),
        *weights.operands("mlp.2", 4 * n_state, n_state),
    ]
    result_type = TensorType(DType.float32, [rows, n_state], device=x.device)
    (y,) = ops.custom(weights.kernel("mlp"), x.device, values, out_types=[result_type])
    return y.tensor.reshape((*leading, n_state))


def embed_tokens(tokens: TensorValue, weights: Weights, n_vocab: int, n_state: int) -> TensorValue:
    leading = list(tokens.shape)
    n_tokens = prod(leading[1:], start=leading[0])
    (rows,) = ops.custom(
        weights.kernel("panel_columns"),
        tokens.device,
        [tokens.reshape((n_tokens,)), *weights.panels("token_embedding", n_state, n_vocab)],
        out_types=[TensorType(DType.float32, [n_tokens, n_state], device=tokens.device)],
    )
    return rows.tensor.reshape((*leading, n_state))


def encoder_attention(qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
    if weights.storage == DType.int8:
        return int8_self_attention(qkv, n_head, weights.vnni())
    return _self_attention(qkv, n_head, causal=False)


def self_attention(qkv: TensorValue, n_head: int, mask: TensorValue) -> TensorValue:
    return _self_attention(qkv, n_head, causal=True)  # the kernel needs no mask to know what comes later


def _self_attention(qkv: TensorValue, n_head: int, *, causal: bool) -> TensorValue:
    batch, length, width = qkv.shape
    n_state = int(width) // 3
    (attended,) = ops.custom(
        "whisper_max.self_attention",
        qkv.device,
        [qkv],
        out_types=[TensorType(qkv.dtype, [batch, length, n_state], device=qkv.device)],
        parameters={"head_dim": n_state // n_head, "causal": causal},
    )
    return cast(TensorValue, attended)


def int8_self_attention(qkv: TensorValue, n_head: int, vnni: TensorValue) -> TensorValue:
    """Self-attention with products of 8 bit integers, without a mask. vnni: see ``Weights.vnni``."""
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
    (attended,) = ops.custom(
        "whisper_max.cross_attention",
        q.device,
        [q, keys, values],
        out_types=[q.type],
        parameters={"head_dim": int(keys.shape[3])},
    )
    return cast(TensorValue, attended)


def step_block(
    x: TensorValue,
    lengths: TensorValue,
    weights: Weights,
    cache: tuple[BufferValue, BufferValue],
    audio: tuple[TensorValue, TensorValue],
    batch: Sequence[Dim],
) -> TensorValue:
    n_state = int(x.shape[1])
    (y,) = ops.inplace_custom(
        weights.kernel("decoder_block"),
        device=x.device,
        values=[
            x,
            lengths,
            *cache,
            *audio,
            *([weights.vnni()] if weights.storage == DType.int8 else []),
            *norm_operands(weights / "attn_ln", n_state),
            *weights.layer("attn.qkv", n_state, 3 * n_state),
            *weights.layer("attn.out", n_state, n_state),
            *norm_operands(weights / "cross_attn_ln", n_state),
            *weights.layer("cross_attn.query", n_state, n_state),
            *weights.layer("cross_attn.out", n_state, n_state),
            *norm_operands(weights / "mlp_ln", n_state),
            *weights.layer("mlp.0", n_state, 4 * n_state),
            *weights.layer("mlp.2", 4 * n_state, n_state),
        ],
        out_types=[x.type],
        parameters={"head_dim": int(cache[0].shape[3])},
    )
    return y.tensor
