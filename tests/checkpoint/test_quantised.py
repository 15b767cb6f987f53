"""Quantised checkpoints of other programs: CTranslate2's int8 and int16, ggml's blocks."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from max.dtype import DType

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.file_bytes import FileBytes
from whisper_max.checkpoint.ggml_blocks import KINDS, BlockTensor
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.checkpoint.own_format import OwnModel, write_own_format
from whisper_max.checkpoint.tensors import QuantizedTensor, ScaledTensor
from whisper_max.engine.storage import compute_type_for, narrowest_exact
from whisper_max.engine.weights import in_int8_panels, prepare_weights, quantized, weight_rules
from whisper_max.errors import CheckpointError

KEPT_WIDE = ("position_encodings", "bias", "beta", "gamma")


def is_narrow(name):
    return not any(part in name for part in KEPT_WIDE)


def ctranslate2_int8(writers, stored, scale_dtype=0):
    """As CTranslate2's ``_quantize`` does it: 127 / the largest magnitude of each row, half to even."""
    variables = []
    for name, array in stored.items():
        if not is_narrow(name):
            variables.append(writers.ct2_variable(name, array.shape, 0, array.astype("<f4").tobytes()))
            continue
        rows = array.reshape(len(array), -1)
        amax = np.abs(rows).max(axis=1)
        amax[amax == 0] = 127
        scale = (np.float32(127) / amax).astype(np.float32)
        values = np.rint(rows * scale[:, None]).astype(np.int8)
        variables.append(writers.ct2_variable(name, array.shape, 1, values.tobytes()))
        variables.append(writers.ct2_variable(f"{name}_scale", scale.shape, scale_dtype, scale.tobytes()))
    return variables


def ctranslate2_int16(writers, stored):
    variables = []
    for name, array in stored.items():
        if not is_narrow(name):
            variables.append(writers.ct2_variable(name, array.shape, 0, array.astype("<f4").tobytes()))
            continue
        scale = np.float32(1024 / np.abs(array).max())
        values = np.clip(np.rint(array * scale), -32768, 32767).astype("<i2")
        variables.append(writers.ct2_variable(name, array.shape, 2, values.tobytes()))
        variables.append(writers.ct2_variable(f"{name}_scale", (), 0, scale.tobytes()))
    return variables


def write(writers, folder, variables):
    writers.write_stored("ctranslate2", folder, writers.stored("ctranslate2"))
    settings = [
        writers.ct2_variable(name, (), code, struct.pack("<" + form, value))
        for name, (form, code, value) in writers.ct2_settings.items()
    ]
    path = folder / "model.bin"
    path.write_bytes(writers.ct2_file([*settings, *variables]))
    return path


def test_ctranslate2_int8_is_read_as_it_is(writers, tmp_path):
    stored = writers.stored("ctranslate2")
    stored["encoder/layer_0/ffn/linear_0/weight"][3] = 0  # a row of zeros
    checkpoint = read_checkpoint(write(writers, tmp_path, ctranslate2_int8(writers, stored)))
    assert checkpoint.tensors.quantized
    name = "encoder.blocks.0.mlp.0.weight"
    entry = checkpoint.tensors.entry(name)
    assert isinstance(entry, QuantizedTensor)
    assert entry.values.dtype == np.int8
    original = stored["encoder/layer_0/ffn/linear_0/weight"]
    steps = np.abs(original).max(axis=1, keepdims=True) / 127
    assert (np.abs(checkpoint.tensors[name] - original) <= steps * 0.5001).all()
    stacked = stored["decoder/layer_1/self_attention/linear_0/weight"]
    key: Any = checkpoint.tensors.entry("decoder.blocks.1.attn.key.weight")
    scale = np.float32(127) / np.abs(stacked).max(axis=1)
    np.testing.assert_array_equal(key.values, np.rint(stacked * scale[:, None])[8:16].astype(np.int8))


def test_int8_reaches_the_kernels_without_a_second_rounding(writers, tmp_path):
    from max.driver import CPU

    checkpoint = read_checkpoint(write(writers, tmp_path, ctranslate2_int8(writers, writers.stored("ctranslate2"))))
    weights = prepare_weights(checkpoint.tensors, checkpoint.dims, DType.float32, DType.int8, CPU())
    rules = [rule for rule in weight_rules(checkpoint.dims) if rule.matrices]
    assert len(rules) == 2 + 1 + 4 * 3 + 8 * 2
    for rule in rules:
        entries: list[Any] = [checkpoint.tensors.entry(name) for name in rule.matrices]
        values = np.concatenate([entry.values for entry in entries])
        if values.ndim == 3:
            values = values.transpose(0, 2, 1).reshape(len(values), -1)
        panels, scale, offset = in_int8_panels(values, np.concatenate([entry.scale for entry in entries]))
        layer = rule.name.removesuffix("weight")
        np.testing.assert_array_equal(weights[rule.name].to_numpy(), panels)
        np.testing.assert_array_equal(weights[f"{layer}scale"].to_numpy(), scale)
        if rule.name == TOKEN_EMBEDDING:
            layer = LOGITS.removesuffix("weight")  # the same matrix, which alone has products
            np.testing.assert_array_equal(weights[LOGITS].to_numpy(), panels)
        np.testing.assert_array_equal(weights[f"{layer}offset"].to_numpy(), offset)


def test_int8_can_be_widened_to_exactly_what_it_stands_for(writers, tmp_path):
    from max.driver import CPU

    checkpoint = read_checkpoint(write(writers, tmp_path, ctranslate2_int8(writers, writers.stored("ctranslate2"))))
    weights = prepare_weights(checkpoint.tensors, checkpoint.dims, DType.float32, DType.float32, CPU())
    name = "decoder.blocks.1.mlp.0.weight"
    key: Any = checkpoint.tensors.entry(name)
    expected = key.values.astype(np.float32) * key.scale[:, None]
    panels = weights[name].to_numpy()  # (n_panels, n_in, PANEL)
    matrix = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])
    np.testing.assert_array_equal(matrix[: len(expected)], expected)


def test_ctranslate2_int16_is_widened(writers, tmp_path):
    stored = writers.stored("ctranslate2")
    checkpoint = read_checkpoint(write(writers, tmp_path, ctranslate2_int16(writers, stored)))
    tensors = checkpoint.tensors
    assert (tensors.quantized, tensors.packed) == (False, "int16")
    original = stored["decoder/embeddings/weight"]
    step = np.abs(original).max() / 1024
    assert np.abs(tensors["decoder.token_embedding.weight"] - original).max() <= step * 0.5001


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "int8",
            lambda v: [x for x in v if b"conv1/weight_scale" not in x[:40]],
            "encoder/conv1/weight is int8 without a",
        ),
        (
            "int16",
            lambda v: [x for x in v if b"conv1/weight_scale" not in x[:40]],
            "encoder/conv1/weight is int16 without",
        ),
        (
            "int8",
            lambda v: [x for x in v if b"conv1/weight\0" not in x[:40]],
            "a tensor is missing: expected encoder/conv1",
        ),
    ],
)
def test_a_scale_that_is_missing(kind, change, message, writers, tmp_path):
    make = ctranslate2_int8 if kind == "int8" else ctranslate2_int16
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(writers, tmp_path, change(make(writers, writers.stored("ctranslate2")))))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_a_scale_that_is_none(kind, scale, writers, tmp_path):
    shape, code = ((8,), 1) if kind == "int8" else ((), 2)
    name = "encoder/conv1/weight"
    variables = [
        writers.ct2_variable(name, (8, 6, 3), code, bytes(8 * 6 * 3 * code)),
        writers.ct2_variable(f"{name}_scale", shape, 0, np.full(shape, scale, np.float32).tobytes()),
    ]
    with pytest.raises(CheckpointError, match=r"impossible scales|is int16 without a scale"):
        read_checkpoint(write(writers, tmp_path, variables))


def test_what_computes_with_packed_weights(writers, tmp_path):
    int16 = read_checkpoint(write(writers, tmp_path, ctranslate2_int16(writers, writers.stored("ctranslate2"))))
    assert compute_type_for(int16, "auto") == "int8"
    assert compute_type_for(int16, "auto", is_cpu=False) == "auto"
    assert compute_type_for(int16, "float32") == "float32"
    int8 = read_checkpoint(write(writers, tmp_path, ctranslate2_int8(writers, writers.stored("ctranslate2"))))
    assert compute_type_for(int8, "auto", is_cpu=False) == "int8"
    assert compute_type_for(int8, "float32") == "float32"
    assert narrowest_exact(int8) == DType.float32


# ---------------------------------------------------------------- ggml

BLOCKS = Path(__file__).parent / "data" / "ggml_blocks.npz"
"""Three random blocks of each kind, and what gguf 0.19's ``dequantize`` makes of them."""


@pytest.mark.parametrize("kind", ["int8", "int16", "own"])
def test_what_was_read_of_a_file_leaves_memory(kind, writers, tmp_path, monkeypatch):
    narrow = ctranslate2_int16 if kind == "int16" else ctranslate2_int8
    path = write(writers, tmp_path, narrow(writers, writers.stored("ctranslate2")))
    if kind == "own":
        read = read_checkpoint(path)
        path = tmp_path / "own.safetensors"
        write_own_format(path, OwnModel(read.dims, read.tensors, read.vocabulary, None, None), quantized)
    entry = read_checkpoint(path).tensors.entry(TOKEN_EMBEDDING)
    assert isinstance(entry, QuantizedTensor | ScaledTensor)
    seen: list[int] = []
    monkeypatch.setattr(FileBytes, "will_see", lambda _, count: seen.append(count))
    entry.rows(3, 10)
    assert seen == [entry.values[3:10].nbytes]


@pytest.mark.parametrize("code", KINDS)
def test_blocks_are_widened_as_ggml_does(code):
    kind = KINDS[code]
    with np.load(BLOCKS) as data:
        raw, expected = data[f"{kind.name}_raw"], data[f"{kind.name}_values"]
    assert raw.shape == (3, kind.n_bytes)
    widened = kind.widen(raw)
    assert widened.dtype == np.float32
    np.testing.assert_array_equal(widened, expected)


@pytest.mark.parametrize("code", KINDS)
def test_a_tensor_of_blocks(code, tmp_path):
    kind = KINDS[code]
    with np.load(BLOCKS) as data:
        raw, expected = data[f"{kind.name}_raw"], data[f"{kind.name}_values"]
    (tmp_path / "m").write_bytes(b"abc" + raw.tobytes())
    file = FileBytes([tmp_path / "m"])
    tensor = BlockTensor(file, "w", 3, kind, (3, kind.n_elements))
    assert (tensor.nbytes, tensor.dtype) == (raw.size, kind.name)
    np.testing.assert_array_equal(tensor.read(), expected)
    np.testing.assert_array_equal(tensor.rows(1, 3).read(), expected[1:])
    with pytest.raises(CheckpointError, match="the file ends inside w"):
        BlockTensor(file, "w", 4, kind, (3, kind.n_elements))
    with pytest.raises(CheckpointError, match=f"w has rows of broken blocks: expected a multiple of {kind.n_elements}"):
        BlockTensor(file, "w", 3, kind, (3, kind.n_elements - 8))


def test_a_ggml_file_of_blocks_is_read(writers, tmp_path):
    """A width of 32, so that a row is a block; as in whisper.cpp all but matrices of layers stays wider."""
    from dataclasses import replace

    dims = replace(writers.dims, n_audio_state=32, n_text_state=32)
    state = writers.random_state(dims)
    body = writers.ggml_header(dims)
    for name, array in state.items():
        if array.ndim == 2 and "positional" not in name:
            rows = array.reshape(-1, 32)
            d = (np.abs(rows).max(axis=1) / 127).astype("<f2")
            values = np.rint(rows / d.astype(np.float32)[:, None]).astype(np.int8)
            raw = b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(d, values, strict=True))
            body += writers.ggml_tensor(name, array.shape, 8, raw)
        else:
            shape = (*array.shape, 1) if name in ("encoder.conv1.bias", "encoder.conv2.bias") else array.shape
            body += writers.ggml_tensor(name, shape, 0, array.astype("<f4").tobytes())
    (tmp_path / "ggml-model.bin").write_bytes(body)
    checkpoint = read_checkpoint(tmp_path / "ggml-model.bin")
    assert (checkpoint.tensors.packed, checkpoint.tensors.quantized) == ("q8_0", False)
    for name, array in state.items():
        assert np.abs(checkpoint.tensors[name] - array).max() <= np.abs(array).max() / 127 * 0.51, name
