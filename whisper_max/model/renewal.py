"""The encoder of a window that grows: some of its positions are encoded anew, the others' keys and values are kept.

What it gives is not what ``encoder.encode`` gives: a position that is kept has not heard what came since, and none
hears what is beyond the rows that are kept. Where those are the whole window, and all of it is renewed, it is the same.
In int8, one window at a time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from max.dtype import DType
from max.graph import BufferType, BufferValue, DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue, ops

from whisper_max.dims import ModelDimensions
from whisper_max.model.encoder import encoder_block
from whisper_max.model.int8 import Int8Ops
from whisper_max.model.layers import CONV_TAPS, Declared, Weights
from whisper_max.model.module import weights_for

DEVICE = DeviceRef.CPU()


class RenewedOps(Int8Ops):
    """The layers of positions that begin at ``start``, (1,) int32, over those of ``kept``, (heard, 2 * n_state)."""

    def __init__(self, kept: BufferValue, start: TensorValue, n_audio: int) -> None:
        super().__init__(n_audio)
        self._kept = kept
        self._start = start

    def encoder_attention(self, qkv: TensorValue, n_head: int, weights: Weights) -> TensorValue:
        """qkv: (1, T, 3 * n_state), of which keys and values are written to ``kept``. Returns (1, T, n_state)."""
        one, length, width = qkv.shape
        n_state = int(width) // 3
        (attended,) = ops.inplace_custom(
            weights.kernel("kept_attention"),
            qkv.device,
            [self._kept, qkv, self._start, *weights.processor()],
            out_types=[TensorType(qkv.dtype, [one, length, n_state], device=qkv.device)],
            parameters={"head_dim": n_state // n_head},
        )
        return attended.tensor


def input_types(dims: ModelDimensions) -> list[TensorType | BufferType]:
    """The inputs of ``renew``.

    mel: (1, n_mels, frames) float32, those of the positions and of their neighbours. positions: (stem_rows, n_state)
    float32, the positional embedding of them all. rows: (renewed,) int32, which of them are renewed. start: (1,) int32,
    the first of those in the window. Then the kept keys and values of each block, (heard, 2 * n_audio_state), of the
    positions that are heard: all up to the last one that is renewed, at least.
    """
    kept = BufferType(DType.float32, ["heard", 2 * dims.n_audio_state], device=DEVICE)
    return [
        TensorType(DType.float32, [1, dims.n_mels, "frames"], device=DEVICE),
        TensorType(DType.float32, ["stem_rows", dims.n_audio_state], device=DEVICE),
        TensorType(DType.int32, ["renewed"], device=DEVICE),
        TensorType(DType.int32, [1], device=DEVICE),
        *[kept] * dims.n_audio_layer,
    ]


def stem(mel: TensorValue, positions: TensorValue, weights: Weights, n_mels: int, n_state: int) -> TensorValue:
    """``Ops.stem`` of a part of a window. Returns (stem_rows, n_state); at its ends it has not seen what is beyond."""
    values = [
        *(mel, positions, ops.constant(np.array([1], np.int32), DType.int32, DEVICE)),
        *weights.layer("conv1", CONV_TAPS * n_mels, n_state),
        *weights.layer("conv2", CONV_TAPS * n_state, n_state),
        *weights.processor(),
    ]
    result_type = TensorType(DType.float32, [1, *positions.shape], device=DEVICE)
    (x,) = ops.custom(weights.kernel("conv_stem"), DEVICE, values, out_types=[result_type])
    return x.tensor.reshape(positions.shape)


def build_module(dims: ModelDimensions, library: KernelLibrary) -> tuple[Module, Declared]:
    """The graph ``renew``: features ``xa`` of the renewed positions, (1, renewed, n_audio_state).

    Returns:
        the module, and the shape and dtype of each weight by name: they are those of the model's other graphs.
    """
    module, n_state = Module(), dims.n_audio_state
    weights = weights_for(DType.float32, DType.int8, DEVICE, dims.n_audio_ctx) / "encoder"
    with Graph("renew", input_types=input_types(dims), module=module, kernel_library=library) as graph:
        mel, positions, rows, start = (value.tensor for value in graph.inputs[:4])
        x = weights.ops.take_rows(stem(mel, positions, weights, dims.n_mels, n_state), rows)  # (renewed, n_state)
        x = x.reshape((1, rows.shape[0], n_state))
        for index, kept in enumerate(graph.inputs[4:]):
            block = replace(weights / "blocks" / index, ops=RenewedOps(kept.buffer, start, dims.n_audio_ctx))
            x = encoder_block(x, block, n_state, dims.n_audio_head)
        graph.output(weights.ops.layer_norm(x, weights, "ln_post", n_state))
    return module, weights.declared
