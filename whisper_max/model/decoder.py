"""The decoder: ``prefill`` runs whole prompts, ``step`` one token a row; ``align.py`` has a finished text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from max.dtype import DType
from max.graph import BufferType, DeviceRef, TensorType, TensorValue, Value, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.kv_cache import cross_kv_types, kv_cache_types, split_cross_kv, split_kv_cache, store_prompt
from whisper_max.model.layers import split_heads
from whisper_max.model.weights import Weights

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


def embed(tokens: TensorValue, positions: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """tokens: (..., T) int32, positions: (T,) int32 -> (..., T, n_text_state)."""
    positional_embedding = weights("positional_embedding", dims.n_text_ctx, dims.n_text_state)
    embedded = weights.ops.embed_tokens(tokens, weights, dims.n_vocab, dims.n_text_state)
    return embedded + ops.gather(positional_embedding, positions, axis=0)


def project_vocabulary(x: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Logits of ``ln(x)``. x: (n, n_text_state) -> (n, n_vocab) float32.

    Their matrix has a name of its own, so that a model may have one; for all others it is bound to the token embedding.
    """
    logits = weights.ops.normed_linear(x, weights, "ln", "logits", dims.n_text_state, dims.n_vocab, bias=False)
    return logits.cast(DType.float32)


def decoder_block(
    x: TensorValue,
    weights: Weights,
    n_state: int,
    attend_self: Callable[[TensorValue], TensorValue],
    attend_cross: Callable[[TensorValue], TensorValue],
) -> TensorValue:
    """One pre-norm residual block. x: (..., n_state), same shape out."""
    layers = weights.ops
    qkv = layers.normed_linear(x, weights, "attn_ln", "attn.qkv", n_state, 3 * n_state)
    x = layers.linear(attend_self(qkv), weights, "attn.out", n_state, n_state, residual=x)
    q = layers.normed_linear(x, weights, "cross_attn_ln", "cross_attn.query", n_state, n_state)
    x = layers.linear(attend_cross(q), weights, "cross_attn.out", n_state, n_state, residual=x)
    return layers.mlp(x, weights, n_state)


def decoder(
    x: TensorValue,
    weights: Weights,
    dims: ModelDimensions,
    attend_self: LayerAttention,
    attend_cross: LayerAttention,
) -> TensorValue:
    """All blocks. x: (..., n_text_state), same shape out."""
    for layer in range(dims.n_text_layer):

        def attend_own(qkv: TensorValue, layer: int = layer) -> TensorValue:
            return attend_self(layer, qkv)

        def attend_audio(q: TensorValue, layer: int = layer) -> TensorValue:
            return attend_cross(layer, q)

        x = decoder_block(x, weights / "blocks" / layer, dims.n_text_state, attend_own, attend_audio)
    return x


def prefill(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Run whole prompts and start the cache's rows with them. Returns logits (n_logits, n_vocab) float32."""
    inputs, cross = split_cross_kv(inputs, dims)
    inputs, cache = split_kv_cache(inputs, dims)
    tokens, positions, mask, logit_rows, window_of_row = (value.tensor for value in inputs)
    mask = mask.cast(weights.dtype)

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        _, k, v = ops.split(qkv, [dims.n_text_state] * 3, axis=-1)
        for buffer, new in ((cache.keys[layer], k), (cache.values[layer], v)):
            heads = split_heads(new, dims.n_text_head).cast(buffer.dtype)
            store_prompt(buffer, ops.gather(heads, window_of_row, axis=0))  # (rows, H, length, hd)
        return weights.ops.self_attention(qkv, dims.n_text_head, mask)

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        return weights.ops.cross_attention(q, cross.keys[layer], cross.values[layer])

    x = decoder(embed(tokens, positions, weights, dims), weights, dims, attend_self, attend_cross)
    x = x.reshape((tokens.shape[0] * tokens.shape[1], dims.n_text_state))  # (windows * length, n_text_state)
    return project_vocabulary(ops.gather(x, logit_rows, axis=0), weights, dims)


def step(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Append one token to every row. Returns logits (rows, n_vocab) float32."""
    inputs, cross = split_cross_kv(inputs, dims)
    inputs, cache = split_kv_cache(inputs, dims)
    tokens, lengths = (value.tensor for value in inputs)
    batch = tokens.shape
    tokens = tokens.reshape((batch[0] * batch[1],)).rebind(lengths.shape)  # (rows,)
    x = embed(tokens, lengths, weights, dims)  # (rows, n_text_state)
    for layer in range(dims.n_text_layer):
        own, audio = (cache.keys[layer], cache.values[layer]), (cross.keys[layer], cross.values[layer])
        x = weights.ops.step_block(x, lengths, weights / "blocks" / layer, own, audio, batch)
    return project_vocabulary(x, weights, dims)
