"""Defects put into checkpoints, each of which must be named in one line."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whisper_max.checkpoint import read_checkpoint
from whisper_max.errors import CheckpointError

FORMATS = ("safetensors", "ctranslate2", "openai", "ggml")
A_WEIGHT = {
    "safetensors": "model.encoder.layers.1.fc1.weight",
    "ctranslate2": "encoder/layer_1/ffn/linear_0/weight",
    "openai": "encoder.blocks.1.mlp.0.weight",
    "ggml": "encoder.blocks.1.mlp.0.weight",
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_tensor(kind, writers, tmp_path):
    stored = writers.stored(kind)
    del stored[A_WEIGHT[kind]]
    path = writers.write_stored(kind, tmp_path, stored)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: tensors are missing: 1 ({A_WEIGHT[kind]})"


@pytest.mark.parametrize("kind", FORMATS)
def test_unexpected_tensors(kind, writers, tmp_path):
    stored = writers.stored(kind) | {f"extra.{index}": np.zeros(2, np.float32) for index in range(6)}
    path = writers.write_stored(kind, tmp_path, stored)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: unexpected tensors: 6 (extra.0, extra.1, extra.2, extra.3, ...)"


@pytest.mark.parametrize("kind", FORMATS)
def test_an_extra_layer(kind, writers, tmp_path):
    """A second layer 2 under the number 4 leaves a gap, so it can't be mistaken for a deeper model."""
    stored = writers.stored(kind)
    for name in list(stored):
        for pattern in ("{}.2.", "{}_2/"):
            for side in ("encoder.layers", "encoder.blocks", "encoder/layer"):
                if pattern.format(side) in name:
                    stored[name.replace("2", "4", 1)] = stored[name]
    path = writers.write_stored(kind, tmp_path, stored)
    with pytest.raises(CheckpointError, match=r"unexpected tensors: \d+ \(.*encoder.*4"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_wrong_shape(kind, writers, tmp_path):
    stored = writers.stored(kind)
    stored[A_WEIGHT[kind]] = stored[A_WEIGHT[kind]].T
    path = writers.write_stored(kind, tmp_path, stored)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{path}: {A_WEIGHT[kind]} has the wrong shape: expected (32, 8), found (8, 32)"


@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("safetensors", "int8", "has an unusable dtype: expected float32, float16, bfloat16, float64, found I8"),
        ("openai", "int8", "has an unusable dtype: expected float32, float16, bfloat16, float64, found int8"),
        ("ctranslate2", "int8", "decoder/embeddings/weight is int8 without a scale for it|is int8 without a scale"),
    ],
)
def test_a_dtype_that_holds_no_weights(kind, dtype, message, writers, tmp_path):
    path = writers.write_stored(kind, tmp_path, writers.stored(kind), dtype)
    with pytest.raises(CheckpointError, match=message.removesuffix(", found None")):
        read_checkpoint(path)


@pytest.mark.parametrize("code", [-1, 4, 5, 9, 15, 16, 31])
def test_a_ggml_type_that_no_model_has(code, writers, tmp_path):
    path = tmp_path / "ggml-model.bin"
    path.write_bytes(writers.ggml_header() + writers.ggml_tensor("encoder.conv1.weight", (8, 6, 3), code, bytes(99)))
    with pytest.raises(CheckpointError, match=r"encoder\.conv1\.weight has an unknown type: expected float32, float16"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_truncation_is_noticed(kind, writers, tmp_path):
    path = writers.write_stored(kind, tmp_path, writers.stored(kind))
    whole = path.read_bytes()
    for size in sorted({0, 1, 4, 7, 8, 9, 15, 33, *range(100, len(whole), 9973), len(whole) - 1}):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.parametrize("kind", ["safetensors", "ctranslate2"])
def test_bytes_after_the_end(kind, writers, tmp_path):
    path = writers.write_stored(kind, tmp_path, writers.stored(kind))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match=r"sound safetensors|bytes follow the last variable"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", FORMATS)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_damaged_headers_never_crash(kind, writers, tmp_path, data):
    """Any few bytes changed: the file is read, or refused with an error of ours."""
    folder = tmp_path / "fuzz"
    path = folder / "whole"
    if not path.exists():
        path = writers.write_stored(kind, folder, writers.stored(kind)).rename(path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        near = (
            st.integers(0, 400) | st.integers(0, len(damaged) - 1) | st.integers(len(damaged) - 3000, len(damaged) - 1)
        )
        damaged[data.draw(near)] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]) | st.integers(0, 255))
    names = {"safetensors": "model.safetensors", "ctranslate2": "model.bin", "openai": "m.pt", "ggml": "ggml.bin"}
    target = folder / names[kind]
    target.write_bytes(damaged)
    try:
        checkpoint = read_checkpoint(target)
    except CheckpointError as error:
        one_line = "\n" not in str(error)
        assert one_line
    else:
        same_heads = replace(checkpoint.dims, n_audio_head=2, n_text_head=4)  # no shape depends on them
        assert same_heads == writers.dims


def assert_refused_without_memory(path, match):
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=match):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1 << 20, 0xFFFFFFFF])
def test_huge_sizes_in_a_ctranslate2_file(size, writers, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(writers.ct2_file([writers.ct2_variable("decoder/embeddings/weight", (size, size), 0, b"", size)]))
    assert_refused_without_memory(path, "the file ends inside decoder/embeddings/weight")
    path.write_bytes(writers.ct2_file([writers.ct2_variable("decoder/embeddings/weight", (size, size), 0, b"1234")]))
    assert_refused_without_memory(path, "the file ends inside decoder/embeddings/weight")
    path.write_bytes(writers.ct2_file([], count=size))
    assert_refused_without_memory(path, "impossible variable count|the file ends inside")


@pytest.mark.parametrize("size", [-1, -(1 << 31), 1 << 30, (1 << 31) - 1])
def test_huge_and_negative_sizes_in_a_ggml_file(size, writers, tmp_path):
    path = tmp_path / "ggml.bin"
    path.write_bytes(writers.ggml_header(count=size))
    assert_refused_without_memory(path, "impossible vocabulary")
    path.write_bytes(writers.ggml_header() + writers.ggml_tensor("decoder.ln.bias", (size, 3), 0, b""))
    assert_refused_without_memory(path, "the file ends inside decoder.ln.bias")
    header = bytearray(writers.ggml_header())
    header[48:56] = struct.pack("<2i", size, 5)
    path.write_bytes(header)
    assert_refused_without_memory(path, "the file ends inside the mel filters|a negative size")
    header[48:56] = struct.pack("<2i", -1, -80)
    path.write_bytes(header)
    assert_refused_without_memory(path, "a negative size: found -1")


def test_many_names_in_a_safetensors_header_take_one_pass():
    from whisper_max.checkpoint.safetensors import distinct_names

    class Counted(str):
        hashed = 0

        def __hash__(self):
            Counted.hashed += 1
            return str.__hash__(self)

    pairs: list[tuple[str, Any]] = [(Counted(index), index) for index in range(500)]
    assert distinct_names(Path("m"), pairs) == dict(pairs)
    Counted.hashed = 0
    with pytest.raises(CheckpointError, match="m: 499 is stored twice"):
        distinct_names(Path("m"), [*pairs, pairs[-1]])
    assert Counted.hashed <= 3 * len(pairs)


@pytest.mark.parametrize("name", [7, None, [["a"]], {"a": 1}, "../a", "a/b", ""])
def test_a_shard_that_is_no_file_name(name, writers, tmp_path):
    writers.write_stored("safetensors", tmp_path, writers.stored("safetensors")).unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match=r"a shard outside the folder|a shard is missing"):
        read_checkpoint(tmp_path)


def test_a_file_of_text_larger_than_any_vocabulary(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: too large: expected at most 67108864 bytes"):
        read_checkpoint(path)


def test_huge_sizes_in_a_safetensors_file(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    whole = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 1 << 62) + whole[8:])
    assert_refused_without_memory(path, "not a sound safetensors file")


@pytest.mark.parametrize("name", ["n_audio_layer", "n_text_ctx", "n_vocab", "n_mels", "n_audio_head"])
@pytest.mark.parametrize("size", [0, -1, (1 << 31) - 1])
def test_impossible_dims_in_a_ggml_file(name, size, writers, tmp_path):
    from whisper_max.checkpoint.ggml import HPARAMS

    header = bytearray(writers.ggml_header())
    at = 4 + 4 * HPARAMS.index(name)
    header[at : at + 4] = struct.pack("<i", size)
    path = tmp_path / "ggml.bin"
    path.write_bytes(header)
    assert_refused_without_memory(path, rf"impossible {name}: expected 1 to \d+, found {size}")


def test_duplicate_names(writers, tmp_path):
    weight = np.ones((8, 6, 3), np.float32).tobytes()
    path = tmp_path / "model.bin"
    path.write_bytes(writers.ct2_file([writers.ct2_variable("encoder/conv1/weight", (8, 6, 3), 0, weight)] * 2))
    with pytest.raises(CheckpointError, match="encoder/conv1/weight is stored twice"):
        read_checkpoint(path)
    path.write_bytes(writers.ggml_header() + writers.ggml_tensor("encoder.conv1.weight", (8, 6, 3), 0, weight) * 2)
    with pytest.raises(CheckpointError, match=r"encoder.conv1.weight is stored twice"):
        read_checkpoint(path)


def test_duplicate_names_in_a_safetensors_header(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    whole = path.read_bytes()
    renamed = whole.replace(b"model.encoder.conv2.bias", b"model.encoder.conv1.bias")
    assert renamed != whole
    path.write_bytes(renamed)
    with pytest.raises(CheckpointError, match=r"model.encoder.conv1.bias is stored twice|not a sound safetensors file"):
        read_checkpoint(path)


def test_a_bias_on_the_keys_is_left_out(writers, tmp_path):
    stored = writers.stored("ctranslate2")
    expected = dict(read_checkpoint(writers.write_stored("ctranslate2", tmp_path / "without", stored)).tensors)
    stored["decoder/layer_1/self_attention/linear_0/bias"][9] = 0.5
    found = read_checkpoint(writers.write_stored("ctranslate2", tmp_path / "with", stored)).tensors
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_an_output_projection_of_another_shape(writers, tmp_path):
    stored = writers.stored("safetensors")
    stored["proj_out.weight"] = stored["proj_out.weight"][1:]
    path = writers.write_stored("safetensors", tmp_path, stored)
    with pytest.raises(CheckpointError, match=r"proj_out.weight has the wrong shape: expected \(\d+, 8\)"):
        read_checkpoint(path)


def test_an_output_projection_that_is_absent(writers, tmp_path):
    stored = writers.stored("safetensors")
    del stored["proj_out.weight"]
    assert read_checkpoint(writers.write_stored("safetensors", tmp_path, stored)).dims == writers.dims


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("decoder/activation", ("b", 1, 0), "unusual decoder/activation: expected 3, found 0"),
        ("decoder/alibi", ("b", 1, 1), "unusual decoder/alibi: expected 0, found 1"),
        ("decoder/pre_norm", ("b", 1, 0), "unusual decoder/pre_norm: expected 1, found 0"),
        ("decoder/rotary_dim", ("i", 3, 64), r"unexpected settings: 1 \(decoder/rotary_dim\)"),
        ("encoder/num_heads", ("h", 2, 3), "n_audio_state is not a multiple of n_audio_head: found 8 and 3"),
        ("encoder/num_heads", ("h", 2, 0), "impossible n_audio_head: expected 1 to 65536, found 0"),
        ("encoder/num_heads", ("f", 0, 2.0), "encoder/num_heads is missing or no integer: found 2.0"),
    ],
)
def test_ctranslate2_settings_that_are_not_whisper(setting, value, message, writers, tmp_path):
    path = tmp_path / "model.bin"
    settings_ = {**writers.ct2_settings, setting: value}
    path.write_bytes(writers.ctranslate2_bytes(writers.stored("ctranslate2"), settings=settings_))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_ctranslate2_settings_that_older_converters_leave_out(writers, tmp_path):
    writers.write_stored("ctranslate2", tmp_path, writers.stored("ctranslate2"))
    kept = {
        name: writers.ct2_settings[name] for name in ("decoder/activation", "decoder/num_heads", "encoder/num_heads")
    }
    path = tmp_path / "model.bin"
    path.write_bytes(writers.ctranslate2_bytes(writers.stored("ctranslate2"), settings=kept))
    assert read_checkpoint(path).dims == writers.dims


@pytest.mark.parametrize(
    ("version", "spec", "message"),
    [(5, "WhisperSpec", "another binary version: expected 6, found 5"), (6, "TransformerSpec", "not a checkpoint")],
)
def test_other_ctranslate2_models(version, spec, message, writers, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(writers.ct2_file([], version=version, spec=spec))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_hugging_face_folder_without_config(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json beside the weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ud800".encode("utf-8", "surrogatepass"), "[" * 100_000])
def test_a_config_that_is_no_json_object(text, writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=r"config\.json: not (JSON|a JSON object|UTF-8 text)"):
        read_checkpoint(path)


def test_a_config_that_disagrees_with_the_tensors(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / "config.json").write_text(json.dumps(writers.huggingface_config() | {"decoder_layers": 3}))
    with pytest.raises(CheckpointError, match=r"tensors are missing: 24 \(model\.decoder\.layers\.2\."):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"RIFF....WAVEfmt ", b"\x80\x02}q\0."])
def test_files_of_no_known_format(content, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a checkpoint that can be read: expected safetensors, CTranslate2"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "a web page, not the file"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_what_downloads_leave_in_a_files_place(name, content, hint, writers, tmp_path):
    writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: not .*; .*{hint}"):
        read_checkpoint(tmp_path)


def test_folders_that_are_no_models_but_near_one(writers, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="it is a LoRA adapter: give it as lora, and the model that it"):
        read_checkpoint(tmp_path)
    for step in (500, 900):
        writers.write_stored("safetensors", tmp_path / "run" / f"checkpoint-{step}", writers.stored("safetensors"))
    with pytest.raises(CheckpointError, match="there is one in 'checkpoint-900' inside it"):
        read_checkpoint(tmp_path / "run")


def test_a_folder_with_two_models_or_none(tmp_path):
    with pytest.raises(CheckpointError, match="no model in this folder"):
        read_checkpoint(tmp_path)
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"found 2 .pt or ggml files"):
        read_checkpoint(tmp_path)


def test_an_error_tells_no_more_than_the_begin_of_what_a_file_holds():
    error = CheckpointError("damaged", where="model.safetensors", found="x" * 5000 + "\n" + "y" * 5000)
    assert len(str(error)) < 600
    assert str(error).startswith("model.safetensors: damaged: found xxxx")
