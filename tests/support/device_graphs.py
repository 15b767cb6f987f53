"""The graphs that keep decoding on a device, and a small random model that decodes by them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from max.driver import CPU
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType
from numpy.typing import NDArray

from tests.support.numpy_whisper import random_tensors
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import prepare_weights
from whisper_max.model import decoder
from whisper_max.model.decoder import cross_kv, cross_kv_input_types
from whisper_max.model.gpu import choose
from whisper_max.model.gpu import fast as gpu
from whisper_max.model.gpu.decode_attention import decode_self_attention
from whisper_max.model.layers import Ops, Weights

N_HEAD, HEAD_DIM = 3, 64
DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=1908, n_text_ctx=48, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip


class OnAHost(Ops):
    """The layers of a CPU, but the attention of a GPU's step."""

    step_block = gpu.FastOps.step_block


@cache
def device_tensors() -> dict[str, NDArray[np.float32]]:
    """A random state dict of the small model."""
    return random_tensors(DIMS, seed=0)


def add_graphs(module: Module, library: KernelLibrary) -> dict[str, Any]:
    """The graphs of ``gpu.choose``, the kinds of a GPU's attention, and what decodes the small model."""
    device = DeviceRef.CPU()
    text = Weights(DType.float32, DType.float32, device, OnAHost()) / "decoder"

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=device)

    def add(name, input_types, forward):
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*(result if isinstance(result, tuple) else [] if result is None else [result]))

    choose.add_graphs(add, DIMS, device)
    width = N_HEAD * HEAD_DIM
    slots = BufferType(DType.float32, ["rows", N_HEAD, "capacity", HEAD_DIM], device=device)
    audio = tensor(DType.float32, "windows", N_HEAD, "n_audio", HEAD_DIM)
    add(
        "split_self",
        [tensor(DType.float32, "rows", 3 * width), tensor(DType.int32, "rows"), slots, slots],
        lambda x: gpu.split_self_attention(x[0].tensor, x[1].tensor, x[2].buffer, x[3].buffer),
    )
    add(
        "plain_self",
        [tensor(DType.float32, "rows", 3 * width), tensor(DType.int32, "rows"), slots, slots],
        lambda x: decode_self_attention(x[0].tensor, x[1].tensor, x[2].buffer, x[3].buffer),
    )
    add(
        "split_cross",
        [tensor(DType.float32, "rows", width), audio, audio],
        lambda x: gpu.split_cross_attention(x[0].tensor, x[1].tensor, x[2].tensor),
    )
    kv = (DIMS, DType.float32, DType.float32, device)
    add("cross_kv", cross_kv_input_types(*kv), lambda x: cross_kv(x, text, DIMS))
    add("prefill", decoder.prefill_input_types(*kv), lambda x: decoder.prefill(x, text, DIMS))
    add("step", decoder.step_input_types(*kv), lambda x: decoder.step(x, text, DIMS))
    weights = prepare_weights(device_tensors(), DIMS, DType.float32, DType.float32, CPU())
    return {name: weights[name] for name in text.declared}
