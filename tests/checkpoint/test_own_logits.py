"""Models whose logits are made by a matrix of their own, not by the token embedding."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from whisper_max.checkpoint import read_checkpoint
from whisper_max.checkpoint.ctranslate2_write import write_ctranslate2
from whisper_max.checkpoint.ggml_write import write_ggml
from whisper_max.checkpoint.layout import LOGITS, TOKEN_EMBEDDING
from whisper_max.checkpoint.own_format import OwnModel, read_own_format, write_own_format
from whisper_max.engine.weights import quantized
from whisper_max.errors import CheckpointError, OptionError


@pytest.fixture
def matrix(writers):
    return writers.random_state(writers.dims)[TOKEN_EMBEDDING][::-1].copy()


@pytest.fixture
def checkpoint(writers, matrix, tmp_path):
    stored = writers.stored("safetensors") | {"proj_out.weight": matrix}
    return read_checkpoint(writers.write_stored("safetensors", tmp_path / "from", stored))


def test_proj_out_that_differs_is_read_beside_the_embedding(checkpoint, matrix):
    np.testing.assert_array_equal(checkpoint.tensors[LOGITS], matrix)
    assert not np.array_equal(checkpoint.tensors[TOKEN_EMBEDDING], matrix)


def test_proj_out_of_a_pytorch_file(writers, matrix, tmp_path):
    writers.write_stored("safetensors", tmp_path, writers.stored("safetensors"))
    (tmp_path / "model.safetensors").unlink()
    stored = writers.stored("safetensors") | {"proj_out.weight": matrix}
    writers.pytorch_file(tmp_path / "pytorch_model.bin", stored)
    np.testing.assert_array_equal(read_checkpoint(tmp_path).tensors[LOGITS], matrix)


def test_a_copy_of_the_embedding_is_dropped(writers, tmp_path):
    stored = writers.stored("safetensors")
    assert "proj_out.weight" in stored
    assert LOGITS not in read_checkpoint(writers.write_stored("safetensors", tmp_path, stored)).tensors


def test_a_config_that_says_it_is_there_when_it_is_not(writers, tmp_path):
    stored = writers.stored("safetensors")
    del stored["proj_out.weight"]
    path = writers.write_stored("safetensors", tmp_path, stored)
    (tmp_path / "config.json").write_text(json.dumps(writers.huggingface_config() | {"tie_word_embeddings": False}))
    with pytest.raises(CheckpointError, match=r'proj_out.weight is missing; config.json says "tie_word_embeddings"'):
        read_checkpoint(path)


def test_ctranslate2_has_it_as_a_variable(checkpoint, writers, matrix, tmp_path):
    write_ctranslate2(tmp_path / "to", checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, writers.specials, {})
    again = read_checkpoint(tmp_path / "to")
    steps = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert (np.abs(again.tensors[LOGITS] - matrix) <= steps * 0.5001).all()
    assert struct.pack("<I", 0) == (tmp_path / "to" / "model.bin").read_bytes()[-4:]  # no alias


@pytest.mark.parametrize("quantize", [None, quantized])
def test_our_own_format_keeps_it(checkpoint, matrix, quantize, tmp_path):
    path = tmp_path / "m.safetensors"
    model = OwnModel(checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, None, None)
    write_own_format(path, model, quantize)
    again = read_own_format(path).tensors
    assert set(again) == set(checkpoint.tensors)
    step = 0 if quantize is None else np.abs(matrix).max() / 127
    assert np.abs(again[LOGITS] - matrix).max() <= step


def test_ggml_has_no_place_for_it(checkpoint, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        "whisper_max.checkpoint.ggml_write._PUBLISHED", {len(checkpoint.vocabulary.ranks): (checkpoint.dims.n_vocab,)}
    )
    filters = np.ones((6, 201), np.float32)
    with pytest.raises(OptionError, match=r"whisper\.cpp makes logits by the token embedding"):
        write_ggml(tmp_path / "m.bin", checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, filters, "f16")
