"""What comes out of each stage of an engine, to hold it against a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from numpy.typing import NDArray

from whisper_max.decode.contract import Float32
from whisper_max.engine.runtime import Placement
from whisper_max.hardware.forks import check_process
from whisper_max.model.panels import GROUP, PANEL, SCALE_BYTES
from whisper_max.model.stages import stage_names

if TYPE_CHECKING:
    from whisper_max.engine.batch import EncodedWindows
    from whisper_max.engine.engine import WhisperEngine


def encode_stages(engine: WhisperEngine, mel: Float32) -> dict[str, Float32]:
    """Every stage of the encoder by name, (n_windows, n_audio_ctx, n_audio_state) float32.

    Args:
        mel: (n_windows, n_mels, n_frames) float32.
    """
    place = engine.decoder.placement
    values = engine.decoder.graphs["encode_stages"].execute(place.put(mel))
    return {name: floats(place, value) for name, value in zip(stage_names(engine.dims), values, strict=True)}


def cross_kv_stages(engine: WhisperEngine, features: EncodedWindows) -> dict[str, Float32]:
    """Cross keys and values by name, each (n_windows, n_audio_ctx, n_text_state) float32."""
    decoder = engine.decoder
    names = [f"cross_kv.{layer}.{side}" for side in ("key", "value") for layer in range(engine.dims.n_text_layer)]
    buffers = decoder.cross_kv(features.n_windows)
    decoder.fill_cross_kv(features.xa, buffers)
    sides = []
    for index, buffer in enumerate(buffers):
        if buffer.dtype == DType.int8:
            keys = index < engine.dims.n_text_layer
            side = unpacked(decoder.placement.get(buffer), engine.dims.n_audio_ctx, keys=keys)
        else:
            side = floats(decoder.placement, buffer)
        sides.append(side.transpose(0, 2, 1, 3).reshape(features.n_windows, engine.dims.n_audio_ctx, -1))
    return dict(zip(names, sides, strict=True))


def unpacked(side: NDArray[np.int8], n_audio: int, *, keys: bool) -> Float32:
    """Keys or values as float32, (B, H, n_audio, hd).

    Args:
        side: (B, H, n_padded, hd + 4), in the order of bytes of ``model/kernels/int8_audio.mojo``.
        n_audio: positions of the audio, without those that fill up the last panel.
        keys: which of the two.
    """
    *heads, n_padded, width = side.shape
    head_dim = width - SCALE_BYTES
    flat = side.reshape(*heads, n_padded * width)
    numbers, scales = np.split(flat, [n_padded * head_dim], axis=-1)
    if keys:
        panels = numbers.reshape(*heads, n_padded // PANEL, head_dim // GROUP, PANEL, GROUP)
        numbers = np.moveaxis(panels, -2, -3) ^ np.int8(-128)  # of unsigned bytes, 128 more
    rows = numbers.reshape(*heads, n_padded, head_dim).astype(np.float32)
    values: Float32 = rows * np.ascontiguousarray(scales).view(np.float32)[..., None]
    return values[..., :n_audio, :]


def floats(place: Placement, buffer: Buffer) -> NDArray[np.float32]:
    """A device buffer of any floating dtype as a host array of float32; NumPy has no bfloat16."""
    if buffer.dtype != DType.bfloat16:
        return place.get(buffer).astype(np.float32, copy=False)
    check_process()
    host = buffer if place.device.is_host else buffer.to(CPU())
    bits = host.view(DType.uint16, host.shape).to_numpy().astype(np.uint32) << 16
    widened: NDArray[np.float32] = bits.view(np.float32)
    return widened
