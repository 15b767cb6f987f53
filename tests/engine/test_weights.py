"""The weights that graphs ask for, made from a checkpoint's tensors."""

from __future__ import annotations

import numpy as np
import pytest
from max.driver import CPU
from max.dtype import DType
from max.graph import DeviceRef

from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import prepare_weights, to_device, weight_rules
from whisper_max.graph.module import build_module

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


@pytest.fixture(scope="module")
def prepared(tensors):
    return prepare_weights(tensors, DIMS, DType.float32, CPU())


def test_the_rules_make_exactly_the_weights_that_the_graphs_declare(prepared):
    _, shapes = build_module(DIMS, DType.float32, DeviceRef.CPU())
    assert {name: tuple(buffer.shape) for name, buffer in prepared.items()} == shapes


def test_no_weight_has_two_rules():
    names = [name for name, _ in weight_rules(DIMS)]
    assert len(names) == len(set(names))


def test_query_key_and_value_are_stacked_with_the_scale_in_the_query(tensors, prepared):
    stacked = prepared["decoder.blocks.1.attn.qkv.weight"].to_numpy()
    query, key, value = (tensors[f"decoder.blocks.1.attn.{part}.weight"] for part in ("query", "key", "value"))
    np.testing.assert_array_equal(stacked, np.concatenate([query * np.float32(0.125), key, value]))
    bias = prepared["decoder.blocks.1.attn.qkv.bias"].to_numpy()
    expected = [tensors["decoder.blocks.1.attn.query.bias"] * np.float32(0.125), np.zeros(128, np.float32)]
    np.testing.assert_array_equal(bias, np.concatenate([*expected, tensors["decoder.blocks.1.attn.value.bias"]]))


def test_a_convolution_becomes_the_matrix_over_its_unfolded_input(tensors, prepared):
    weight, matrix = tensors["encoder.conv2.weight"], prepared["encoder.conv2.weight"].to_numpy()
    x = np.random.default_rng(1).standard_normal((3, DIMS.n_audio_state), dtype=np.float32)  # one value for each tap
    np.testing.assert_allclose(matrix @ x.reshape(-1), np.einsum("oik,ki->o", weight, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1.0, 0x3F80), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (-2.5, 0xC020), (3.3895314e38, 0x7F7F)],
)
def test_bfloat16_rounds_to_nearest_even(value, rounded):
    buffer = to_device(np.array([value], np.float32), DType.bfloat16, CPU())
    assert buffer.view(DType.uint16, (1,)).to_numpy()[0] == rounded
