"""The encoder: conv stem, positions, blocks and ``ln_post``; and the graph that runs it."""

from __future__ import annotations

from max.dtype import DType
from max.graph import DeviceRef, TensorType, TensorValue

from whisper_max.dims import ModelDimensions
from whisper_max.model.layers import Weights


def input_types(dims: ModelDimensions, device: DeviceRef) -> list[TensorType]:
    """mel: (windows, n_mels, n_frames) float32."""
    return [TensorType(DType.float32, ["windows", dims.n_mels, dims.n_frames], device=device)]


def encoder_block(x: TensorValue, weights: Weights, n_state: int, n_head: int) -> TensorValue:
    """One pre-norm residual block. x: (B, T, n_state), same shape out."""
    layers = weights.ops
    qkv = layers.normed_linear(x, weights, "attn_ln", "attn.qkv", n_state, 3 * n_state)
    attended = layers.encoder_attention(qkv, n_head, weights)
    x = layers.linear(attended, weights, "attn.out", n_state, n_state, residual=x)
    return layers.mlp(x, weights, n_state)


def encode_stages(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> list[TensorValue]:
    """The value of every stage, named by ``stages.stage_names``, each (B, n_audio_ctx, n_audio_state)."""
    stages = weights.ops.stem_stages(mel, weights, dims)
    for index in range(dims.n_audio_layer):
        block = weights / "blocks" / index
        stages.append(encoder_block(stages[-1], block, dims.n_audio_state, dims.n_audio_head))
    return [*stages, weights.ops.layer_norm(stages[-1], weights, "ln_post", dims.n_audio_state)]


def encode(mel: TensorValue, weights: Weights, dims: ModelDimensions) -> TensorValue:
    """Audio features ``xa``, (B, n_audio_ctx, n_audio_state), of log-mel windows."""
    x = weights.ops.stem(mel, weights, dims)
    for index in range(dims.n_audio_layer):
        x = encoder_block(x, weights / "blocks" / index, dims.n_audio_state, dims.n_audio_head)
    return weights.ops.layer_norm(x, weights, "ln_post", dims.n_audio_state)
