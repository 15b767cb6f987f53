"""The graphs that keep decoding on a device, and a small random model that decodes by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue, ops
from numpy.typing import NDArray

from tests.support.numpy_block import random_layers
from tests.support.numpy_whisper import random_tensors
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.checkpoint.published import MODELS
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import prepare_weights, weight_rules
from whisper_max.model import decoder
from whisper_max.model.decoder import cross_kv, cross_kv_input_types
from whisper_max.model.gpu import choose
from whisper_max.model.gpu import fast as gpu
from whisper_max.model.gpu.decode_attention import decode_self_attention
from whisper_max.model.layers import Ops, Weights
from whisper_max.model.panels import PANEL, n_panels

N_HEAD, HEAD_DIM = 2, 64
ROWS = "rows"
DIMS = ModelDimensions(
    n_mels=80, n_audio_ctx=52, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=1908, n_text_ctx=48, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip
CHOOSERS = ("choose", "sample", "no_speech")
OWN = "by our own kernel"
"""Ends the names of the same graphs in the fast form."""
TINY = MODELS["tiny.en"].dims
WIDE = replace(TINY, n_vocab=n_panels(TINY.n_vocab) * PANEL)
"""What ``CHOOSERS`` are compiled for, once for all tests: it takes a minute. The logits of tiny.en on a CPU, whose
last columns only fill up a panel. Smaller models take them by ``Widened``."""


class Widened:
    """One of ``CHOOSERS`` for a model with fewer tokens and a shorter context than ``WIDE`` has.

    The tokens that it has not may never be said, and whatever is at least the first timestamp still is.
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def execute(self, logits: Any, *inputs: Any) -> Any:
        """As the graph's; the last input, a transcript for each row, is written to."""
        narrow = _array(logits)
        if len(inputs) == 1:  # no_speech has but the token
            return self._graph.execute(_wider(narrow, WIDE.n_vocab, -np.inf), *inputs)
        never, not_first, ids, *others, transcript = inputs
        ids = _array(ids).copy()
        if ids[1] == narrow.shape[1]:  # no timestamps
            ids[1] = WIDE.n_vocab
        masks = [_wider(_array(mask), WIDE.n_vocab, True) for mask in (never, not_first)]
        written = _array(transcript)
        others = [_wider(_array(each), WIDE.n_text_ctx, 0) if len(each.shape) == 2 else each for each in others]
        longer = _wider(written, WIDE.n_text_ctx, 0)
        result = self._graph.execute(_wider(narrow, WIDE.n_vocab, 0), *masks, ids, *others, Buffer.from_numpy(longer))
        written[:] = longer[:, : written.shape[1]]
        return result


def _array(values: Any) -> NDArray[Any]:
    """What is on a CPU as an array of the same memory."""
    return values.to_numpy() if isinstance(values, Buffer) else values


def _wider(values: NDArray[Any], n: int, filler: object) -> NDArray[Any]:
    """(..., n) with a filler behind the last columns."""
    wide = np.full((*values.shape[:-1], n), filler, values.dtype)
    wide[..., : values.shape[-1]] = values
    return wide


@contextmanager
def ranges_given() -> Iterator[dict[str, NDArray[np.int32]]]:
    """Graphs built meanwhile take their ranges as weights, which are yielded by name.

    A range is a constant, and what is made of constants alone MAX computes when it compiles, with kernels that it
    compiles for nothing else: as many seconds again as for the graphs. What is computed stays the same.
    """
    given: dict[str, NDArray[np.int32]] = {}

    def given_range(start: int, stop: int, step: int, *, dtype: DType, device: DeviceRef) -> TensorValue:
        name = f"range.{start}.{stop}.{step}"
        given[name] = np.arange(start, stop, step, dtype=np.int32)
        return ops.constant_external(name, TensorType(dtype, given[name].shape, device=device))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "range", given_range)
        yield given


@cache
def device_tensors() -> dict[str, NDArray[np.float32]]:
    """A random state dict of the small model."""
    return random_tensors(DIMS, seed=0)


def tensor(dtype: DType, *shape: int | str) -> TensorType:
    """An input on a CPU."""
    return TensorType(dtype, list(shape), device=DeviceRef.CPU())


def buffer(dtype: DType, *shape: int | str) -> BufferType:
    """An input on a CPU that is written to."""
    return BufferType(dtype, list(shape), device=DeviceRef.CPU())


def add_graph(
    module: Module,
    library: KernelLibrary,
    name: str,
    input_types: Iterable[TensorType | BufferType],
    forward: Callable[[Sequence[Any]], Any],
) -> None:
    """Add a graph to a module. forward: makes of its inputs one output, several, or None."""
    with Graph(name, input_types=input_types, module=module, kernel_library=library) as graph:
        result = forward(graph.inputs)
        graph.output(*(result if isinstance(result, (list, tuple)) else [] if result is None else [result]))


def add_graphs(module: Module, library: KernelLibrary) -> dict[str, Any]:
    """The graphs of ``gpu.choose``, a GPU's decoder block and attention, and what decodes the small model.

    A step is the fast one of a GPU, whose matrices have names of their own here, as they lie in rows.
    """
    device = DeviceRef.CPU()
    text = Weights(DType.float32, DType.float32, device, Ops()) / "decoder"
    rows = Weights(DType.float32, DType.float32, device, gpu.FastOps()) / ROWS / "decoder"

    add = partial(add_graph, module, library)
    with ranges_given() as ranges:
        choose.add_graphs(add, WIDE, device)
    choose.add_graphs(lambda name, *graph: add(f"{name} {OWN}", *graph), WIDE, device, gpu.CHOOSERS)
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
    return ranges | {name: every[name] for name in (*text.declared, *rows.declared)}
