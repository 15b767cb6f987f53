"""The names of what graphs take and give; apart from them, so that who runs them needs no graph compiler."""

from __future__ import annotations

from whisper_max.dims import ModelDimensions


def stage_names(dims: ModelDimensions) -> list[str]:
    """The stages of the encoder, in the order data meets them."""
    blocks = [f"encoder.block.{index}" for index in range(dims.n_audio_layer)]
    return ["conv_stem", "conv_stem+positional_embedding", *blocks, "ln_post"]


ROW_STATE = ("tokens", "lengths", "before", "last_timestamp", "n_sampled", "sum_logprobs", "transcript")
"""The buffers that ``choose.choose`` reads and writes, in the order of its inputs."""
GOING_ON, BROKEN, IMPOSSIBLE = -1, -2, -3
"""What a choice says of a row that is not finished: it goes on, its logits are not finite, its rules allow no token."""
