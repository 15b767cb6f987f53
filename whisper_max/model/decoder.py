"""The decoder: ``cross_kv`` makes a window's audio ready, ``prefill`` runs whole prompts, ``step`` one token a row.

``align.py`` has a finished text. The caches are explicit values in the graphs' signatures. Self-attention keeps, for
each layer, keys and values of every token so far: buffers of shape (rows, H, capacity, hd), updated in place, where
row = window * hyps + hypothesis. Each row has its own length, so rows start and finish independently. Cross-attention
keeps, for each layer, keys and values of the audio: (windows, H, n_audio_ctx, hd) or those as bytes
(``panels.cross_shape``), written once per window and shared by the window's hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from max.dtype import DType
from max.graph import BufferType, BufferValue, DeviceRef, TensorType, TensorValue, Value

from whisper_max.dims import ModelDimensions
from whisper_max.model.layers import Weights
from whisper_max.model.panels import cross_shape

GraphType: TypeAlias = TensorType | BufferType
LayerAttention = Callable[[int, TensorValue], TensorValue]
"""(layer, projected x) -> attended. Self-attention takes q, k and v side by side, cross-attention the queries."""
KVCache: TypeAlias = list[tuple[BufferValue, BufferValue]]
"""Keys and values of self-attention, layer by layer."""
CrossKV: TypeAlias = list[tuple[TensorValue, TensorValue]]
"""Keys and values of cross-attention, layer by layer."""


def kv_cache_types(dims: ModelDimensions, dtype: DType, device: DeviceRef) -> list[BufferType]:
    """Key buffers of all layers, then value buffers."""
    shape = ["rows", dims.n_text_head, "capacity", dims.n_text_state // dims.n_text_head]
    return [BufferType(dtype, shape, device=device)] * (2 * dims.n_text_layer)


def cross_kv_types(dims: ModelDimensions, dtype: DType, device: DeviceRef) -> list[TensorType]:
    """Cross keys of all layers, then cross values."""
    return [TensorType(dtype, ["windows", *cross_shape(dims, dtype)], device=device)] * (2 * dims.n_text_layer)


def split_kv_cache(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], KVCache]:
    """Take the inputs of ``kv_cache_types`` off the end of a graph's; returns those before them, and the cache."""
    before, layers = _split(inputs, dims)
    return before, [(keys.buffer, values.buffer) for keys, values in layers]


def split_cross_kv(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], CrossKV]:
    """Take the inputs of ``cross_kv_types`` off the end of a graph's; returns those before them, and the rest."""
    before, layers = _split(inputs, dims)
    return before, [(keys.tensor, values.tensor) for keys, values in layers]


def _split(inputs: Sequence[Value], dims: ModelDimensions) -> tuple[Sequence[Value], list[tuple[Value, Value]]]:
    n = dims.n_text_layer
    return inputs[: -2 * n], list(zip(inputs[-2 * n : -n], inputs[-n:], strict=True))


def cross_kv_input_types(dims: ModelDimensions, dtype: DType, cross_dtype: DType, device: DeviceRef) -> list[GraphType]:
    """xa: (windows, n_audio_ctx, n_audio_state); then the buffers to fill, keys of all layers before values."""
    xa = TensorType(dtype, ["windows", dims.n_audio_ctx, dims.n_audio_state], device=device)
    return [xa, *[side.as_buffer() for side in cross_kv_types(dims, cross_dtype, device)]]


def cross_kv(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> None:
    """Fill the cross keys and values of every layer."""
    (xa,), cross = split_kv_cache(inputs, dims)
    n_in, n_out = dims.n_audio_state, dims.n_text_state
    for layer, audio in enumerate(cross):
        weights.ops.store_audio(audio, xa.tensor, weights / "blocks" / layer, n_in, n_out)


def prefill_input_types(dims: ModelDimensions, kv_dtype: DType, cross: DType, device: DeviceRef) -> list[GraphType]:
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
        *cross_kv_types(dims, cross, device),
    ]


def step_input_types(dims: ModelDimensions, kv_dtype: DType, cross_dtype: DType, device: DeviceRef) -> list[GraphType]:
    """The inputs of ``step``.

    tokens: (windows, hyps) int32. lengths: (rows,) int32, how many tokens each row has in the cache: the position of
    the new one, and the slot it is written to. Then the caches.
    """
    return [
        TensorType(DType.int32, ["windows", "hyps"], device=device),
        TensorType(DType.int32, ["rows"], device=device),
        *kv_cache_types(dims, kv_dtype, device),
        *cross_kv_types(dims, cross_dtype, device),
    ]


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
        attend = partial(attend_self, layer), partial(attend_cross, layer)
        x = decoder_block(x, weights / "blocks" / layer, dims.n_text_state, *attend)
    return x


def prefill(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Run whole prompts and start the cache's rows with them. Returns logits (n_logits, n_vocab) float32."""
    inputs, cross = split_cross_kv(inputs, dims)
    inputs, cache = split_kv_cache(inputs, dims)
    tokens, positions, mask, logit_rows, window_of_row = (value.tensor for value in inputs)
    mask = mask.cast(weights.dtype)

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        weights.ops.store_prompt(cache[layer], qkv, window_of_row)
        return weights.ops.self_attention(qkv, dims.n_text_head, mask)

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        return weights.ops.cross_attention(q, *cross[layer])

    x = weights.ops.embed(tokens, positions, weights, dims)
    x = decoder(x, weights, dims, attend_self, attend_cross)
    x = x.reshape((tokens.shape[0] * tokens.shape[1], dims.n_text_state))  # (windows * length, n_text_state)
    return weights.ops.logits(weights.ops.take_rows(x, logit_rows), weights, dims)


def step(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Append one token to every row. Returns logits (rows, n_vocab) float32."""
    inputs, cross = split_cross_kv(inputs, dims)
    inputs, cache = split_kv_cache(inputs, dims)
    tokens, lengths = (value.tensor for value in inputs)
    batch = tokens.shape
    tokens = tokens.reshape((batch[0] * batch[1],)).rebind(lengths.shape)  # (rows,)
    x = weights.ops.embed(tokens, lengths, weights, dims)  # (rows, n_text_state)
    for layer in range(dims.n_text_layer):
        x = weights.ops.step_block(x, lengths, weights / "blocks" / layer, cache[layer], cross[layer], batch)
    return weights.ops.logits(x, weights, dims)
