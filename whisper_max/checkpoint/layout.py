"""The canonical state dict of a Whisper model: openai-whisper's tensor names and their shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_max.dims import ModelDimensions

ENCODER_POSITIONS = "encoder.positional_embedding"
TOKEN_EMBEDDING = "decoder.token_embedding.weight"
LOGITS = "decoder.logits.weight"
"""What makes the logits, where that is not the token embedding as in every published model; openai-whisper has none."""

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(dims: ModelDimensions) -> Shapes:
    """Name and shape of every tensor of a model with these dims, in openai-whisper's names."""
    shapes: Shapes = {
        "encoder.conv1.weight": (dims.n_audio_state, dims.n_mels, 3),
        "encoder.conv1.bias": (dims.n_audio_state,),
        "encoder.conv2.weight": (dims.n_audio_state, dims.n_audio_state, 3),
        "encoder.conv2.bias": (dims.n_audio_state,),
        ENCODER_POSITIONS: (dims.n_audio_ctx, dims.n_audio_state),
    }
    for layer in range(dims.n_audio_layer):
        shapes |= _block(f"encoder.blocks.{layer}", dims.n_audio_state, ("attn",))
    shapes |= _norm("encoder.ln_post", dims.n_audio_state)
    shapes[TOKEN_EMBEDDING] = (dims.n_vocab, dims.n_text_state)
    shapes["decoder.positional_embedding"] = (dims.n_text_ctx, dims.n_text_state)
    for layer in range(dims.n_text_layer):
        shapes |= _block(f"decoder.blocks.{layer}", dims.n_text_state, ("attn", "cross_attn"))
    return shapes | _norm("decoder.ln", dims.n_text_state)


def _block(prefix: str, width: int, attentions: tuple[str, ...]) -> Shapes:
    shapes: Shapes = {}
    for attention in attentions:
        for projection in ("query", "key", "value", "out"):
            shapes |= _linear(f"{prefix}.{attention}.{projection}", width, width, bias=projection != "key")
        shapes |= _norm(f"{prefix}.{attention}_ln", width)
    shapes |= _linear(f"{prefix}.mlp.0", width, 4 * width)
    shapes |= _linear(f"{prefix}.mlp.2", 4 * width, width)
    return shapes | _norm(f"{prefix}.mlp_ln", width)


def _linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def sinusoids(length: int, channels: int) -> NDArray[np.float32]:
    """The encoder's positions, (length, channels) float32: sines in the first half, cosines in the second.

    Source: openai/whisper ``model.py`` ``sinusoids`` with a largest timescale of 10000. Like there, each intermediate
    is rounded to float32; exponentials, sines and cosines are the correctly rounded ones, where PyTorch's own may be
    one unit in the last place off (at the late positions that amounts to 3.1e-5).
    """
    increment = np.log(10000) / (channels // 2 - 1)
    exponents = np.float32(-increment) * np.arange(channels // 2, dtype=np.float32)
    inverse_timescales = np.exp(exponents.astype(np.float64)).astype(np.float32)
    scaled_time = np.arange(length, dtype=np.float32)[:, None] * inverse_timescales[None, :]
    angles = scaled_time.astype(np.float64)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
