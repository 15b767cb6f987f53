"""Every format gives the same canonical tensors, dims and vocabulary."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from whisper_max.checkpoint import Checkpoint, read_checkpoint
from whisper_max.checkpoint.layout import sinusoids, tensor_shapes
from whisper_max.checkpoint.published import MODELS
from whisper_max.errors import CheckpointError

FORMATS = ("safetensors", "ctranslate2", "openai", "ggml")


def assert_same_state(checkpoint: Checkpoint, state: dict[str, np.ndarray]) -> None:
    assert set(checkpoint.tensors) == set(state)
    assert len(checkpoint.tensors) == len(state)
    for name, expected in state.items():
        tensor = checkpoint.tensors[name]
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        np.testing.assert_array_equal(tensor, expected, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_and_dtype_gives_the_same_tensors(kind, dtype, writers, tmp_path):
    state = writers.random_state(writers.dims)
    path = writers.write_stored(kind, tmp_path / "model", writers.stored(kind, state), dtype)
    checkpoint = read_checkpoint(path)
    assert checkpoint.dims == writers.dims
    assert checkpoint.format == kind
    assert checkpoint.source == path
    assert_same_state(checkpoint, state)
    assert {checkpoint.tensors.dtype(name) for name in state} == {dtype}


@pytest.mark.parametrize("kind", ["safetensors", "openai"])
def test_float64_is_rounded_to_float32(kind, writers, tmp_path):
    state = {name: array.astype(np.float64) + 1e-12 for name, array in writers.random_state(writers.dims).items()}
    path = writers.write_stored(kind, tmp_path / "model", writers.stored(kind, state), "float64")
    assert_same_state(read_checkpoint(path), {name: array.astype(np.float32) for name, array in state.items()})


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_is_read_as_the_file_in_it(kind, writers, tmp_path):
    path = writers.write_stored(kind, tmp_path / "model", writers.stored(kind))
    assert read_checkpoint(path.parent).source == path


@pytest.mark.parametrize("kind", FORMATS)
def test_the_vocabulary(kind, writers, tmp_path):
    vocabulary = read_checkpoint(writers.write_stored(kind, tmp_path, writers.stored(kind))).vocabulary
    assert vocabulary.ranks == {word: index for index, word in enumerate(writers.words)}
    assert vocabulary.special_tokens == ({} if kind == "ggml" else writers.specials)


@pytest.mark.parametrize(
    ("kind", "heads"),
    [("safetensors", ((0, 1), (1, 2))), ("ctranslate2", ((1, 3),)), ("openai", None), ("ggml", None)],
)
def test_alignment_heads_come_from_the_config(kind, heads, writers, tmp_path):
    checkpoint = read_checkpoint(writers.write_stored(kind, tmp_path, writers.stored(kind)))
    assert checkpoint.alignment_heads == heads


@pytest.mark.parametrize("pair", [[2, 0], [0, 4], [-1, 0], [0], ["0", 0], [0.0, 1], 7])
def test_impossible_alignment_heads_are_left_out(pair, writers, tmp_path):
    path = writers.write_stored("ctranslate2", tmp_path, writers.stored("ctranslate2"))
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": [pair]}))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.alignment_heads, checkpoint.heads_dropped) == (None, 1)
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": [[1, 0], pair, [0, 3]]}))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.alignment_heads, checkpoint.heads_dropped) == (((1, 0), (0, 3)), 1)


@pytest.mark.parametrize("stated", [[], None, {}, "x"])
def test_alignment_heads_that_are_none(stated, writers, tmp_path):
    path = writers.write_stored("ctranslate2", tmp_path, writers.stored("ctranslate2"))
    (tmp_path / "config.json").write_text(json.dumps({"alignment_heads": stated}))
    assert read_checkpoint(path).alignment_heads is None


def test_raw_keeps_the_stored_dtype(writers, tmp_path):
    state = writers.random_state(writers.dims)
    checkpoint = read_checkpoint(
        writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"), "float16")
    )
    raw = checkpoint.tensors.raw("encoder.conv1.weight")
    assert raw.dtype == np.float16
    np.testing.assert_array_equal(raw, state["encoder.conv1.weight"].astype(np.float16))
    assert checkpoint.tensors.shape("encoder.conv1.weight") == (8, 6, 3)


def test_float32_tensors_are_views_of_the_mapped_file(writers, tmp_path):
    path = writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    tensor = read_checkpoint(path).tensors["decoder.token_embedding.weight"]
    assert not tensor.flags.owndata
    assert not tensor.flags.writeable


def write_sharded(writers, folder: Path, shards: int) -> dict[str, np.ndarray]:
    stored = writers.stored("safetensors")
    writers.write_stored("safetensors", folder, stored)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for index in range(shards):
        name = f"model-{index + 1:05}-of-{shards:05}.safetensors"
        part = {key: stored[key] for key in list(stored)[index::shards]}
        (folder / name).write_bytes(writers.safetensors_bytes(part))
        weight_map |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return stored


def test_sharded_safetensors(writers, tmp_path):
    write_sharded(writers, tmp_path, 3)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.source == tmp_path
    assert_same_state(checkpoint, writers.random_state(writers.dims))
    assert_same_state(read_checkpoint(tmp_path / "model.safetensors.index.json"), writers.random_state(writers.dims))


def test_a_missing_shard(writers, tmp_path):
    write_sharded(writers, tmp_path, 3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"a shard is missing: expected model-00002-of-00003\.safetensors"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", "..", "x\0y", ""])
def test_a_shard_outside_the_folder(name, writers, tmp_path):
    write_sharded(writers, tmp_path / "model", 1)
    (tmp_path / "other.safetensors").write_bytes(b"")
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match=r"a shard outside the folder|a shard is missing"):
        read_checkpoint(tmp_path / "model")


def test_a_tensor_in_two_shards(writers, tmp_path):
    stored = write_sharded(writers, tmp_path, 2)
    name = list(stored)[1]
    part = {key: stored[key] for key in [*list(stored)[::2], name]}
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(writers.safetensors_bytes(part))
    with pytest.raises(CheckpointError, match=f"{name} is stored twice"):
        read_checkpoint(tmp_path)


def test_positions_that_are_not_stored_are_sinusoids(writers, tmp_path):
    stored = writers.stored("openai")
    del stored["encoder.positional_embedding"]
    checkpoint = read_checkpoint(writers.write_stored("openai", tmp_path, stored))
    positions = checkpoint.tensors["encoder.positional_embedding"]
    np.testing.assert_array_equal(positions, sinusoids(10, 8))
    assert checkpoint.tensors.dtype("encoder.positional_embedding") == "float32"


def test_sinusoids_by_the_formula():
    table = sinusoids(1500, 384)
    assert (table.shape, table.dtype) == ((1500, 384), np.dtype(np.float32))
    position, channel = np.arange(1500.0)[:, None], np.arange(192.0)[None, :]
    angles = position * 10000 ** (-channel / 191)
    np.testing.assert_allclose(table, np.hstack([np.sin(angles), np.cos(angles)]), rtol=0, atol=5e-4)
    np.testing.assert_array_equal(table[0], [0] * 192 + [1] * 192)


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("tiny", 37_760_640),
        ("base", 72_593_920),
        ("small", 241_734_912),
        ("medium", 763_857_920),
        ("large-v3", 1_543_490_560),
        ("large-v3-turbo", 808_878_080),
    ],
)
def test_the_layout_counts_the_published_sizes(name, elements):
    """The parameter counts that the hub shows for these models."""
    assert sum(math.prod(shape) for shape in tensor_shapes(MODELS[name].dims).values()) == elements


def test_a_pair_of_unequal_depths_is_read_as_it_is(writers, tmp_path):
    """Layers are counted per side: three in the encoder, two in the decoder."""
    checkpoint = read_checkpoint(writers.write_stored("ctranslate2", tmp_path, writers.stored("ctranslate2")))
    assert (checkpoint.dims.n_audio_layer, checkpoint.dims.n_text_layer) == (3, 2)
    assert "encoder.blocks.2.mlp.0.weight" in checkpoint.tensors
    assert "decoder.blocks.2.mlp.0.weight" not in checkpoint.tensors
    assert list(checkpoint.tensors) == list(tensor_shapes(checkpoint.dims))


def test_a_file_that_the_safetensors_library_wrote(writers, tmp_path):
    state = writers.random_state(writers.dims)
    stored = writers.stored("safetensors", state)
    path = writers.write_stored("safetensors", tmp_path, stored)
    save_file({name: array.astype(np.float16) for name, array in stored.items()}, path)
    assert_same_state(read_checkpoint(path), state)
