"""The names of the encoder's stages; apart from the graphs, so that who compares values needs no graph compiler."""

from __future__ import annotations

from whisper_max.dims import ModelDimensions


def stage_names(dims: ModelDimensions) -> list[str]:
    """The stages of the encoder, in the order data meets them."""
    blocks = [f"encoder.block.{index}" for index in range(dims.n_audio_layer)]
    return ["conv_stem", "conv_stem+positional_embedding", *blocks, "ln_post"]
