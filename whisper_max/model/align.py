"""What words are timed by: ``align`` runs a finished text through the decoder."""

from __future__ import annotations

from collections.abc import Sequence

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue, Value

from whisper_max.dims import ModelDimensions
from whisper_max.model.decoder import GraphType, cross_kv_types, decoder, split_cross_kv
from whisper_max.model.layers import Weights


def align_input_types(dims: ModelDimensions, cross_dtype: DType, device: DeviceRef) -> list[GraphType]:
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
        *[
            TensorType(side.dtype, [1, *side.shape[1:]], device=device)
            for side in cross_kv_types(dims, cross_dtype, device)
        ],
    ]


def align(inputs: Sequence[Value], weights: Weights, dims: ModelDimensions) -> tuple[TensorValue, TensorValue]:
    """Run a finished text and return what word timing needs.

    Returns the softmaxed cross-attention of the alignment heads, (n_heads, length, n_audio_ctx) float32, and at each
    position the probability of its target among the text tokens, (length,) float32.
    """
    inputs, cross = split_cross_kv(inputs, dims)
    tokens, positions, mask, heads, targets, n_text_tokens = (value.tensor for value in inputs)
    mask = mask.cast(weights.dtype)
    attended = weights.ops.alignment(heads, tokens.shape[1], dims)

    def attend_self(layer: int, qkv: TensorValue) -> TensorValue:
        return weights.ops.self_attention(qkv, dims.n_text_head, mask)

    def attend_cross(layer: int, q: TensorValue) -> TensorValue:
        keys, values = cross[layer]
        attended.add(layer, q, keys)
        return weights.ops.cross_attention(q, keys, values)

    x = weights.ops.embed(tokens, positions, weights, dims)
    x = decoder(x, weights, dims, attend_self, attend_cross)
    logits = weights.ops.logits(x.reshape((tokens.shape[1], dims.n_text_state)), weights, dims)
    return attended.result(), weights.ops.target_probs(logits, targets, n_text_tokens)
