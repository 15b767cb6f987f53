"""The decoder: ``prefill`` runs whole prompts, ``step`` one token a row, ``align`` a finished text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

from max.dtype import DType
from max.graph import BufferType, DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions
from whisper_max.graph.decode_attention import MASKED, decode_cross_attention, decode_self_attention
from whisper_max.graph.kv_cache import as_cross_kv, as_kv_cache, cross_kv_types, kv_cache_types, store_prompt
from whisper_max.graph.layers import (
    cross_attention,
    layer_norm,
    linear,
    mlp,
    scaled,
    self_attention,
    split_heads,
)
from whisper_max.graph.weights import Weights

GraphType: TypeAlias = TensorType | BufferType
LayerAttention = Callable[[int, TensorValue], TensorValue]
"""(layer, projected x) -> attended. Self-attention takes q, k and v side by side, cross-attention the queries."""


def prefill_input_types(dims: ModelDimensions, kv_dtype: DType, device: DeviceRef) -> list[GraphType]:
    """The inputs of ``prefill``.

    tokens: (windows, length) int32, shorter prompts padded at their end by any token. positions: (length,) int32, 0, 1,
    2... mask: (length, length) float32, the causal mask, added to the scores. logit_rows: (n_logits,) int32, rows of
    the flattened (windows * length) whose logits are wanted. window_of_row: (rows,) int32, the window whose prompt each
    row of the cache takes. Then the caches.
    """
    return [
        TensorType(DType.int32, ["windows", "length"], device=device),
        TensorType(DType.int32, ["length"], device=device),
        TensorType(DType.float32, ["length", "length"], device=device),
        TensorType(DType.int32, ["n_logits"], device=device),
        TensorType(DType.int32, ["rows"], device=device),
        *kv_cache_types(dims, kv_dtype, device),
        *cross_kv_types(dims, kv_dtype, device),
    ]


def step_input_types(dims: ModelDimensions, kv_dtype: DType, device: DeviceRef) -> list[GraphType]:
    """The inputs of ``step``.

    tokens: (windows, hyps) int32. lengths: (rows,) int32, how many tokens each row has in the cache: the position of
    the new one, and the slot it is written to. Then the caches.
    """
    return [
        TensorType(DType.int32, ["windows", "hyps"], device=device),
        TensorType(DType.int32, ["rows"], device=device),
        *kv_cache_types(dims, kv_dtype, device),
        *cross_kv_types(dims, kv_dtype, device),
    ]


def align_input_types(dims: ModelDimensions, kv_dtype: DType, device: DeviceRef) -> list[GraphType]:
    """The inputs of ``align``.

    tokens, positions, mask: as for ``prefill``, one window. heads: (n_heads,) int32, alignment heads as
    layer * n_text_head + head. targets: (length,) int32, the token to rate after each position. n_text_tokens: (1,)
    int32, how many tokens of the vocabulary compete: those below eot. Then the cross keys and values.
    """
    return [
        TensorType(DType.int32, [1, "length"], device=device),
        TensorType(DType.int32, ["length"], device=device),
        TensorType(DType.float32, ["length", "length"], device=device),
        TensorType(DType.int32, ["n_heads"], device=device),
        TensorType(DType.int32, ["length"], device=device),
        TensorType(DType.int32, [1], device=device),
        *[TensorType(kv_dtype, [1, *side.shape[1:]], device=device) for side in cross_kv_types(dims, kv_dtype, device)],
    ]


def embed(tokens: TensorValue, positions: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """tokens: (..., T) int32, positions: (T,) int32 -> (..., T, n_text_state)."""
    positional_embedding = weights("positional_embedding", dims.n_text_ctx, dims.n_text_state)
    return embed_tokens(tokens, weights, dims) + ops.gather(positional_embedding, positions, axis=0)


def embed_tokens(tokens: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """tokens: (..., T) int32 -> (..., T, n_text_state), from the matrix that also makes the logits."""
    if not weights.device.is_cpu():
        return ops.gather((weights / "token_embedding")("weight", dims.n_vocab, dims.n_text_state), tokens, axis=0)
    leading = list(tokens.shape)
    n_tokens = prod(leading[1:], start=leading[0])
    (rows,) = ops.custom(
        weights.kernel("panel_columns"),
        tokens.device,
        [tokens.reshape((n_tokens,)), *weights.panels("token_embedding", dims.n_text_state, dims.n_vocab)],
        out_types=[TensorType(DType.float32, [n_tokens, dims.n_text_state], device=tokens.device)],
    )
    return rows.tensor.reshape((*leading, dims.n_text_state))


def project_vocabulary(x: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Logits by the transposed token embedding. x: (n, n_text_state) -> (n, n_vocab) float32."""
    return linear(x, weights, "token_embedding", dims.n_text_state, dims.n_vocab, bias=False).cast(DType.float32)


def decoder_block(
    x: TensorValue,
    weights: Weights,
    n_state: int,
    attend_self: Callable[[TensorValue], TensorValue],
    attend_cross: Callable[[TensorValue], TensorValue],
) -> TensorValue:
    """One pre-norm residual block. x: (..., n_state), same shape out."""
    qkv = linear(layer_norm(x, weights, "attn_ln", n_state), weights, "attn.qkv", n_state, 3 * n_state)
    x = linear(attend_self(qkv), weights, "attn.out", n_state, n_state, residual=x)
    q = linear(layer_norm(x, weights, "cross_attn_ln", n_state), weights, "cross_attn.query", n_state, n_state)
    x = linear(attend_cross(q), weights, "cross_attn.out", n_state, n_state, residual=x)
    return mlp(x, weights, n_state)


def decoder(
    x: TensorValue,
    weights: Weights,
    dims: ModelDimensions,
    attend_self: LayerAttention,
    attend_cross: LayerAttention,
) -> TensorValue:
    """All blocks and ``ln``. x: (..., n_text_state), same shape out."""
    for layer in range(dims.n_text_layer):

        def attend_own(qkv: TensorValue, layer: int = layer) -> TensorValue:
            return attend_self(layer, qkv)

        def attend_audio(q: TensorValue, layer: int = layer) -> TensorValue:
            return attend_cross(layer, q)

        x = decoder_block(x, weights / "blocks" / layer, dims.n_text_state, attend_own, attend_audio)
    return layer_norm(x, weights, "ln", dims.n_text_state)


def prefill(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Run whole prompts and start the cache's rows with them. Returns logits (n_logits, n_vocab) float32."""
    tokens, positions, mask, logit_rows, window_of_row = (value.tensor for value in inputs[:5])
    cache_inputs, cross_inputs = inputs[5 : 5 + 2 * dims.n_text_layer], inputs[5 + 2 * dims.n_text_layer :]
    cache, cross = as_kv_cache(cache_inputs), as_cross_kv(cross_inputs)
    mask = mask.cast(weights.dtype)

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        _, k, v = ops.split(qkv, [dims.n_text_state] * 3, axis=-1)
        for buffer, new in ((cache.keys[layer], k), (cache.values[layer], v)):
            heads = split_heads(new, dims.n_text_head).cast(buffer.dtype)
            store_prompt(buffer, ops.gather(heads, window_of_row, axis=0))  # (rows, H, length, hd)
        return self_attention(qkv, dims.n_text_head, mask)

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        return cross_attention(q, cross.keys[layer], cross.values[layer])

    x = decoder(embed(tokens, positions, weights, dims), weights, dims, attend_self, attend_cross)
    x = x.reshape((tokens.shape[0] * tokens.shape[1], dims.n_text_state))  # (windows * length, n_text_state)
    return project_vocabulary(ops.gather(x, logit_rows, axis=0), weights, dims)


def step(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Append one token to every row. Returns logits (rows, n_vocab) float32."""
    tokens, lengths = (value.tensor for value in inputs[:2])
    cache_inputs, cross_inputs = inputs[2 : 2 + 2 * dims.n_text_layer], inputs[2 + 2 * dims.n_text_layer :]
    cache, cross = as_kv_cache(cache_inputs), as_cross_kv(cross_inputs)
    windows, hyps = tokens.shape

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        return decode_self_attention(qkv, lengths, cache.keys[layer], cache.values[layer])

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        return decode_cross_attention(q, cross.keys[layer], cross.values[layer], (windows, hyps))

    tokens = tokens.reshape((windows * hyps,)).rebind(lengths.shape)  # (rows,)
    x = decoder(embed(tokens, lengths, weights, dims), weights, dims, attend_self, attend_cross)  # (rows, n_text_state)
    return project_vocabulary(x, weights, dims)


def align(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> tuple[TensorValue, TensorValue]:
    """Run a finished text and return what word timing needs.

    Returns the softmaxed cross-attention of the alignment heads, (n_heads, length, n_audio_ctx) float32, and at each
    position the probability of its target among the text tokens, (length,) float32.
    """
    tokens, positions, mask, heads, targets, n_text_tokens = (value.tensor for value in inputs[:6])
    cross = as_cross_kv(inputs[6:])
    mask = mask.cast(weights.dtype)
    queries: list[TensorValue] = []

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        return self_attention(qkv, dims.n_text_head, mask)

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        queries.append(split_heads(scaled(q, dims.n_text_head), dims.n_text_head))  # (1, H, length, hd)
        return cross_attention(q, cross.keys[layer], cross.values[layer])

    x = decoder(embed(tokens, positions, weights, dims), weights, dims, attend_self, attend_cross)
    q, k = (ops.gather(ops.concat(side, axis=1), heads, axis=1) for side in (queries, cross.keys))
    k = k.cast(q.dtype)
    attended = ops.softmax((q @ ops.transpose(k, -1, -2)).cast(DType.float32))  # (1, n_heads, length, n_audio_ctx)
    logits = project_vocabulary(x.reshape((tokens.shape[1], dims.n_text_state)), weights, dims)
    return ops.squeeze(attended, 0), target_probs(logits, targets, n_text_tokens)


def target_probs(logits: TensorValue, targets: TensorValue, n_text_tokens: TensorValue) -> TensorValue:
    """softmax(logits[:, :n_text_tokens])[i, targets[i]] for each i; 0 for a target that does not compete.

    logits: (T, n_vocab); targets: (T,) int32; n_text_tokens: (1,) int32. Returns (T,) float32.
    """
    n_vocab = int(logits.shape[1])
    ids = ops.range(0, n_vocab, 1, dtype=DType.int32, device=logits.device).reshape((1, n_vocab))
    excluded = ops.greater_equal(ids, n_text_tokens.reshape((1, 1))).cast(DType.float32)
    probs = ops.softmax(logits + excluded * MASKED)  # (T, n_vocab)
    return ops.gather_nd(probs, ops.unsqueeze(targets, -1), batch_dims=1)
