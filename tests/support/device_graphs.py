"""The graphs that keep decoding on a device, and a small random model that decodes by them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from max.driver import CPU
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType
from numpy.typing import NDArray

from tests.support.numpy_block import random_layers
from tests.support.numpy_whisper import random_tensors
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import prepare_weights, weight_rules
from whisper_max.model import decoder
from whisper_max.model.decoder import cross_kv, cross_kv_input_types
from whisper_max.model.gpu import choose
from whisper_max.model.gpu import fast as gpu
from whisper_max.model.gpu.decode_attention import decode_self_attention
from whisper_max.model.layers import Ops, Weights

N_HEAD, HEAD_DIM = 2, 64
ROWS = "rows"
DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=1908, n_text_ctx=48, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip


@cache
def device_tensors() -> dict[str, NDArray[np.float32]]:
    """A random state dict of the small model."""
    return random_tensors(DIMS, seed=0)


def add_graphs(module: Module, library: KernelLibrary) -> dict[str, Any]:
    """The graphs of ``gpu.choose``, a GPU's decoder block and attention, and what decodes the small model.

    A step is the fast one of a GPU, whose matrices have names of their own here, as they lie in rows.
    """
    device = DeviceRef.CPU()
    text = Weights(DType.float32, DType.float32, device, Ops()) / "decoder"
    rows = Weights(DType.float32, DType.float32, device, gpu.FastOps()) / ROWS / "decoder"

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=device)

    def buffer(dtype, *shape):
        return BufferType(dtype, list(shape), device=device)

    def add(name, input_types, forward):
        with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
            result = forward(graph.inputs)
            graph.output(*(result if isinstance(result, tuple) else [] if result is None else [result]))

    choose.add_graphs(add, DIMS, device)
    width = N_HEAD * HEAD_DIM
    slots = buffer(DType.float32, "rows", N_HEAD, "capacity", HEAD_DIM)
    add(
        "plain_self",
        [tensor(DType.float32, "rows", 3 * width), tensor(DType.int32, "rows"), slots, slots],
        lambda x: decode_self_attention(x[0].tensor, x[1].tensor, x[2].buffer, x[3].buffer),
    )
    for dtype in (DType.float32, DType.bfloat16):
        layers = [tensor(dtype, *layer.shape) for layer in random_layers(np.random.default_rng(0), width, lambda x: x)]
        cache = [buffer(dtype, "rows", N_HEAD, "capacity", HEAD_DIM)] * 2
        audio = [tensor(dtype, "windows", N_HEAD, "n_audio", HEAD_DIM)] * 2
        stream, counts = tensor(DType.float32, "rows", width), tensor(DType.int32, "rows", gpu.COUNTS + N_HEAD)
        add(
            f"token_block {dtype.name}",
            [stream, counts, tensor(DType.int32, "rows"), *cache, *audio, *layers],
            lambda x: gpu.token_block(
                x[0].tensor,
                x[1].tensor,
                x[2].tensor,
                (x[3].buffer, x[4].buffer),
                (x[5].tensor, x[6].tensor),
                [value.tensor for value in x[7:]],
            ),
        )
        matrix = tensor(dtype, "n_vocab", width)
        add(
            f"row_logits {dtype.name}",
            [stream, *layers[:2], matrix],
            lambda x: gpu.row_logits(x[0].tensor, [value.tensor for value in x[1:]]),
        )
    kv = (DIMS, DType.float32, DType.float32, device)
    add("cross_kv", cross_kv_input_types(*kv), lambda x: cross_kv(x, text, DIMS))
    add("prefill", decoder.prefill_input_types(*kv), lambda x: decoder.prefill(x, text, DIMS))
    add("step", decoder.step_input_types(*kv), lambda x: gpu.step(x, rows, DIMS))
    weights: dict[str, Any] = prepare_weights(device_tensors(), DIMS, DType.float32, DType.float32, CPU())
    in_rows = {rule.name: rule.make(device_tensors()) for rule in weight_rules(DIMS)}
    in_rows[LOGITS] = in_rows[TOKEN_EMBEDDING]
    every = {**weights, **{f"{ROWS}.{name}": np.ascontiguousarray(array) for name, array in in_rows.items()}}
    return {name: every[name] for name in (*text.declared, *rows.declared)}
