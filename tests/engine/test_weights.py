"""The weights that graphs ask for, made from a checkpoint's tensors."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from max.driver import CPU
from max.dtype import DType
from max.graph import DeviceRef

from whisper_max.checkpoint import Tensors
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING, tensor_shapes
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import (
    fits_float16,
    host_weights,
    in_int8_panels,
    in_panels,
    prepare_weights,
    quantized,
    to_device,
    weight_rules,
)
from whisper_max.errors import CheckpointError
from whisper_max.model.module import build_module, kernel_library
from whisper_max.model.panels import GROUP, PANEL

DIMS = ModelDimensions(
    n_mels=4, n_audio_ctx=6, n_audio_state=128, n_audio_head=2, n_audio_layer=1,
    n_vocab=51865, n_text_ctx=8, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip


class _Counting(dict):
    """Random tensors of the asked names; remembers which were read."""

    def __init__(self, rng):
        super().__init__()
        self._rng = rng

    def __missing__(self, name):
        n, d = DIMS.n_text_state, DIMS.n_audio_state
        shapes = {
            "encoder.conv1.weight": (d, DIMS.n_mels, 3),
            "encoder.conv2.weight": (d, d, 3),
            "encoder.positional_embedding": (DIMS.n_audio_ctx, d),
            "decoder.positional_embedding": (DIMS.n_text_ctx, n),
            "decoder.token_embedding.weight": (DIMS.n_vocab, n),
        }
        shape = shapes.get(name)
        if shape is None:
            wide = 4 * n
            last = name.rsplit(".", 1)[1]
            if "mlp.0" in name:
                shape = (wide, n) if last == "weight" else (wide,)
            elif "mlp.2" in name:
                shape = (n, wide) if last == "weight" else (n,)
            elif "ln" in name or last == "bias":
                shape = (n,)
            else:
                shape = (n, n)
        self[name] = self._rng.standard_normal(shape, dtype=np.float32)
        return self[name]


@pytest.fixture(scope="module")
def tensors():
    return _Counting(np.random.default_rng(0))


STORAGES = [DType.float32, DType.float16, DType.int8]


def prepared(tensors):
    """All tensors of a model."""
    return {name: tensors[name] for name in tensor_shapes(DIMS)}


@pytest.fixture(scope="module")
def declared():
    """The weights that the graphs of a storage declare; the kernels that check their calls are compiled once."""
    library = kernel_library()

    def of(storage, device=None):
        return build_module(DIMS, DType.float32, storage, device or DeviceRef.CPU(), library=library)[1]

    return of


@pytest.mark.parametrize("storage", STORAGES)
def test_the_rules_make_exactly_the_weights_that_the_graphs_declare(tensors, declared, storage):
    weights = prepare_weights(tensors, DIMS, DType.float32, storage, CPU())
    assert {name: (tuple(buffer.shape), buffer.dtype) for name, buffer in weights.items()} == declared(storage)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["encoder.conv1.bias", "decoder.blocks.1.mlp.0.weight", "decoder.ln.weight"])
@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_not_finite_is_refused(storage, is_stored, name, value, tensors):
    damaged: Any = prepared(tensors)
    damaged[name] = damaged[name].copy()
    damaged[name].flat[-1] = value
    if is_stored:
        damaged = Tensors({name: Recorded(name, array, {}) for name, array in damaged.items()})
    with pytest.raises(CheckpointError, match=f"{name} has values that are infinite or no numbers"):
        prepare_weights(damaged, DIMS, DType.float32, storage, CPU())


def test_what_float16_can_not_hold_is_refused(tensors):
    large = dict(prepared(tensors))
    large[TOKEN_EMBEDDING] = large[TOKEN_EMBEDDING] * 1e6
    with pytest.raises(CheckpointError, match=f"{TOKEN_EMBEDDING} has values that are infinite.*this compute type"):
        prepare_weights(large, DIMS, DType.float32, DType.float16, CPU())
    prepare_weights(large, DIMS, DType.float32, DType.float32, CPU())


@dataclass(frozen=True)
class Recorded:
    """A tensor in a file; how much of it is read at once is remembered by name."""

    name: str
    values: np.ndarray
    largest: dict[str, int]
    dtype: str = "float32"

    @property
    def shape(self):
        return self.values.shape

    def rows(self, start, stop):
        return replace(self, values=self.values[start:stop])

    def read(self):
        self.largest[self.name] = max(self.largest.get(self.name, 0), self.values.size)
        return self.values


@pytest.mark.parametrize("storage", STORAGES)
def test_a_matrix_is_never_in_memory_as_a_whole(tensors, storage):
    largest: dict[str, int] = {}
    stored = Tensors({name: Recorded(name, tensors[name], largest) for name in tensor_shapes(DIMS)})
    weights = prepare_weights(stored, DIMS, DType.float32, storage, CPU())
    assert largest[TOKEN_EMBEDDING] < tensors[TOKEN_EMBEDDING].size / 8
    expected = prepare_weights(tensors, DIMS, DType.float32, storage, CPU())
    assert weights.keys() == expected.keys()
    for name, buffer in weights.items():
        np.testing.assert_array_equal(buffer.to_numpy(), expected[name].to_numpy())


def test_int8_weights_are_made_in_little_more_memory_than_they_take(monkeypatch):
    monkeypatch.setattr("whisper_max.engine.weights.usable_cores", lambda: 2)
    dims = replace(DIMS, n_audio_state=512, n_text_state=512)
    shapes = tensor_shapes(dims)
    stored = Tensors({name: Recorded(name, np.zeros(shape, np.float16), {}) for name, shape in shapes.items()})
    tracemalloc.start()
    try:
        weights = host_weights(stored, dims, DType.int8)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_bytes = sum(array.nbytes for array in weights.values())
    assert n_bytes < now < peak < 1.05 * n_bytes


def test_a_gpu_gets_plain_matrices_and_no_fillers(tensors, declared):
    made = {rule.name: rule.make(tensors).shape for rule in weight_rules(DIMS) if not rule.filler}
    made[LOGITS] = made[TOKEN_EMBEDDING]
    assert made == {name: shape for name, (shape, _) in declared(DType.float32, DeviceRef.GPU()).items()}


def test_no_weight_has_two_rules():
    names = [rule.name for rule in weight_rules(DIMS)]
    assert len(names) == len(set(names))


def rule_named(name):
    return next(rule for rule in weight_rules(DIMS) if rule.name == name)


def test_query_key_and_value_are_stacked(tensors):
    stacked = rule_named("decoder.blocks.1.attn.qkv.weight").make(tensors)
    parts = [tensors[f"decoder.blocks.1.attn.{part}.weight"] for part in ("query", "key", "value")]
    np.testing.assert_array_equal(stacked, np.concatenate(parts))
    bias = rule_named("decoder.blocks.1.attn.qkv.bias").make(tensors)
    query, value = (tensors[f"decoder.blocks.1.attn.{part}.bias"] for part in ("query", "value"))
    np.testing.assert_array_equal(bias, np.concatenate([query, np.zeros(128, np.float32), value]))


def test_a_convolution_becomes_the_matrix_over_its_unfolded_input(tensors):
    weight, matrix = tensors["encoder.conv2.weight"], rule_named("encoder.conv2.weight").make(tensors)
    x = np.random.default_rng(1).standard_normal((3, DIMS.n_audio_state), dtype=np.float32)  # one value for each tap
    np.testing.assert_allclose(matrix @ x.reshape(-1), np.einsum("oik,ki->o", weight, x), rtol=1e-4, atol=1e-4)


matrices = arrays(np.float32, st.tuples(st.integers(1, 70), st.integers(1, 9)), elements=st.floats(-8, 8, width=16))


@given(matrices)
def test_panels_hold_the_matrix_and_zeros(matrix):
    panels = in_panels(matrix, DType.float32)
    n_out, n_in = matrix.shape
    assert panels.shape == (-(-n_out // PANEL), n_in, PANEL)
    rows = panels.transpose(0, 2, 1).reshape(-1, n_in)
    np.testing.assert_array_equal(rows[:n_out], matrix)
    assert not rows[n_out:].any()


@given(matrices)
def test_int8_panels_hold_the_matrix_in_groups_and_zeros(matrix):
    panels, scale, offset = in_int8_panels(matrix)
    n_out, n_in = matrix.shape
    assert panels.shape == (-(-n_out // PANEL), -(-n_in // GROUP), PANEL, GROUP)
    assert panels.ctypes.data % 64 == 0  # no vector lies across two cache lines
    rows = panels.transpose(0, 2, 1, 3).reshape(len(panels) * PANEL, -1)
    narrow, scales = quantized(matrix)
    np.testing.assert_array_equal(rows[:n_out, :n_in], narrow)
    assert not rows[n_out:].any()
    assert not rows[:, n_in:].any()
    np.testing.assert_array_equal(scale, np.pad(scales, (0, len(rows) - n_out)))
    np.testing.assert_array_equal(offset, -128 * rows.sum(axis=1, dtype=np.int64))


@given(matrices)
def test_int8_is_within_half_a_step_and_keeps_the_largest(matrix):
    narrow, scale = quantized(matrix)
    assert narrow.dtype == np.int8
    assert (scale > 0).all()
    error = np.abs(narrow * scale[:, None] - matrix)
    assert (error <= scale[:, None] * 0.5001).all()
    peaks = np.abs(matrix).max(axis=1)
    np.testing.assert_array_equal(np.abs(narrow.astype(int)).max(axis=1), np.where(peaks > 0, 127, 0))


def test_a_checkpoint_fits_float16_only_if_all_of_it_does(tensors):
    exact = {name: tensors[name].astype(np.float16).astype(np.float32) for name in tensor_shapes(DIMS)}
    assert fits_float16(exact, DIMS)
    exact["decoder.blocks.1.mlp.2.weight"][3, 5] = np.nan  # refused later, without a graph for float32 before
    assert fits_float16(exact, DIMS)
    exact["decoder.blocks.1.mlp.2.weight"][3, 5] = np.float32(1 + 1e-6)
    assert not fits_float16(exact, DIMS)
    exact["decoder.blocks.1.mlp.2.weight"][3, 5] = 1e6  # beyond float16
    assert not fits_float16(exact, DIMS)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1.0, 0x3F80), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (-2.5, 0xC020), (3.3895314e38, 0x7F7F)],
)
def test_bfloat16_rounds_to_nearest_even(value, rounded):
    buffer = to_device(np.array([value], np.float32), DType.bfloat16, CPU())
    assert buffer.view(DType.uint16, (1,)).to_numpy()[0] == rounded
