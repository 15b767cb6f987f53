"""``inspect`` and ``models``: what a checkpoint is, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic_vocabulary import synthetic_ranks
from whisper_max.checkpoint.layout import tensor_shapes
from whisper_max.checkpoint.own_format import OwnModel, write_own_format
from whisper_max.checkpoint.published import MODELS
from whisper_max.checkpoint.tensors import Tensors
from whisper_max.checkpoint.vocabulary import Tokens, Vocabulary
from whisper_max.commands.main import main
from whisper_max.engine.weights import quantized
from whisper_max.text.special_tokens import published_special_tokens

DIMS = replace(MODELS["tiny"].dims, n_audio_state=8, n_text_state=8, n_audio_head=2, n_text_head=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder; nothing else is on this machine."""
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(import_module("whisper_max.checkpoint.resolve"), "installed_files", lambda name: None)
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(weights))
    return weights


def write(path: Path, *, int8: bool = False, words: dict[str, int] | None = None) -> Path:
    dims = replace(DIMS, n_vocab=51865 + len(words or {}))
    tensors = Tensors({name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(dims).items()})
    vocabulary = Vocabulary(Tokens.of(synthetic_ranks()), published_special_tokens(50257, 51865).by_name(), words or {})
    write_own_format(path, OwnModel(dims, tensors, vocabulary, ((1, 0),), None), quantized if int8 else None)
    return path


def test_one_file_for_people(folder, capsys):
    path = write(folder / "mine.safetensors", words={"newword": 51865})
    assert main(["inspect", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(path),
        "  size       4+4 blocks of width 8, 80 mel bins",
        "  format     whisper_max, float16, 1 MB",
        "  languages  99, 1 added words",
        "  words      its own heads",
        "  ready      nothing: it is compiled at the first load",
    ]


def test_one_file_as_json(folder, capsys):
    path = write(folder / "mine.safetensors", int8=True)
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["weights"], found["bytes"]) == (str(path), "int8", path.stat().st_size)
    assert (len(found["languages"]), found["added_words"], found["ready"]) == (99, 0, [])
    assert found["dims"]["n_audio_state"] == 8


def test_models_tells_what_is_on_this_machine(folder, capsys):
    write(folder / "mine.safetensors")
    write(folder / "narrow.safetensors", int8=True)
    (folder / "broken.pt").write_bytes(b"PK")
    (folder / "README.md").write_text("# Weights")
    (folder / "notes").mkdir()
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry.get("weights") for entry in found] == [None, "float16", "int8"]
    assert "broken.pt: not a checkpoint that can be read" in found[0]["error"]
    assert main(["models"]) == 0
    assert len(capsys.readouterr().out.split("\n\n")) == 4


def test_a_place_of_a_published_model_that_holds_none(folder, capsys):
    write(folder / "small.safetensors")
    (folder / "base").mkdir()
    (folder / "tiny.pt").write_bytes(b"")
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry.get("error", "").partition(":")[0] for entry in found] == [
        str(folder / "tiny.pt"),
        str(folder / "base"),
        "",
    ]
    assert main(["models"]) == 0
    table, *rest = capsys.readouterr().out.split("\n\n")
    assert len(rest) == 3
    told = {row.split()[0]: row.split()[5] for row in table.splitlines() if not row.startswith("name")}
    assert (told["tiny"], told["base"], told["medium"]) == ("unreadable", "unreadable", "hub")


def test_a_weights_folder_that_is_not_there(folder, monkeypatch, capsys):
    monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(folder / "nowhere"))
    assert main(["models"]) != 0
    assert "no such folder; correct WHISPER_MAX_WEIGHTS" in capsys.readouterr().err


def test_what_is_no_model(folder, capsys):
    assert main(["inspect", str(folder)]) != 0
    assert "no model in this folder" in capsys.readouterr().err
