"""From names and paths to files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from whisper_max.checkpoint import list_models, read_checkpoint, resolve
from whisper_max.checkpoint.manifest import openai_sha256, weights_packages
from whisper_max.checkpoint.published import ALIASES, MODELS
from whisper_max.errors import CheckpointError, OptionError, UnknownModelError


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(sys.modules["whisper_max.checkpoint.resolve"], "installed_files", lambda name: None)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_path_to_a_file_or_folder(as_type, writers, tmp_path):
    path = writers.write_stored("ctranslate2", tmp_path / "mine", writers.stored("ctranslate2"))
    for given in (path, path.parent):
        files = resolve(as_type(given))
        assert (files.weights, files.origin, files.name, files.checks) == ((path,), "path", None, ())


def test_a_home_path(writers, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = writers.write_stored("ggml", tmp_path / "mine", writers.stored("ggml"))
    assert resolve("~/mine").weights == (path,)


def test_a_relative_folder_that_looks_like_a_hub_id(writers):
    path = writers.write_stored("ggml", Path("owner/model"), writers.stored("ggml"))
    assert resolve("owner/model").weights == (path,)


@pytest.mark.parametrize("model", ["no/such/model.bin", "model.pt", "a/b/c", Path("base"), Path("x/y")])
def test_a_path_to_nothing(model):
    with pytest.raises(CheckpointError, match="no such file or folder"):
        resolve(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("bsae", "'bsae': unknown model; did you mean base"),
        ("large-v4", "'large-v4': unknown model; did you mean large-v"),
        ("trubo", "'trubo': unknown model; did you mean turbo?"),
        ("zzz", "'zzz': unknown model; known: tiny.en, tiny, .*turbo; or a path, or owner/repo"),
        ("", "'': unknown model; known: "),
        ("-/-", "-/-: no such file or folder"),
    ],
)
def test_an_unknown_model(model, message):
    with pytest.raises((UnknownModelError, CheckpointError), match="^" + message.replace("?", r"\?")):
        resolve(model)


def test_a_revision_of_a_path(writers, tmp_path):
    path = writers.write_stored("ggml", tmp_path / "mine", writers.stored("ggml"))
    with pytest.raises(OptionError, match="a revision needs a hub id: found revision v2"):
        resolve(path, revision="v2")


@pytest.mark.parametrize(
    ("kind", "place"), [("safetensors", "medium"), ("openai", "medium/model.pt"), ("ggml", "ggml-medium.bin")]
)
@pytest.mark.parametrize("how", ["argument", "environment", "default"])
def test_the_weights_folder(kind, place, how, writers, tmp_path, monkeypatch, nothing_installed):
    folder = Path("weights") if how == "default" else tmp_path / "models"
    written = writers.write_stored(kind, tmp_path / "written", writers.stored(kind))
    target = folder / place
    target.parent.mkdir(parents=True)
    (written.parent if kind == "safetensors" else written).rename(target)
    if how == "environment":
        monkeypatch.setenv("WHISPER_MAX_WEIGHTS", str(folder))
    weights_dir = folder if how == "argument" else None
    files = resolve("medium", weights_dir=weights_dir, offline=True)
    assert (files.name, files.origin, files.format) == ("medium", "weights folder", kind)
    listing = {model.name: model for model in list_models(weights_dir)}
    assert (listing["medium"].location, listing["medium"].source) == ("weights folder", files.source)
    assert listing["small"].location == "hub"


def test_an_alias_finds_its_model(writers, nothing_installed):
    writers.write_stored("ggml", Path("weights/large-v3-turbo"), writers.stored("ggml"))
    assert resolve("turbo").name == "large-v3-turbo"


def test_a_published_name_wins_over_a_file_of_that_name(writers, nothing_installed):
    writers.write_stored("ggml", Path("small"), writers.stored("ggml"))
    inside = writers.write_stored("ggml", Path("weights/small"), writers.stored("ggml"))
    assert resolve("small").weights == (inside,)
    assert resolve("./small").weights == (Path("small/ggml-model.bin"),)


def test_a_published_pt_is_checked(writers, tmp_path):
    path = writers.write_stored("openai", tmp_path, writers.stored("openai")).rename(tmp_path / "base.pt")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(resolve(path))
    message = str(caught.value)
    assert message.startswith(
        f"{path}: the file is damaged or not what its name says: expected sha256 ed3a0b6b1c0edf87"
    )
    assert message.endswith("; if it is a model of your own, rename it; else fetch it again")


@pytest.mark.parametrize("name", ["base", "tiny.en"])
def test_published_alignment_heads_need_the_published_dims(name, writers, nothing_installed):
    """A folder named after a published model that holds another does not get its heads."""
    writers.write_stored("ggml", Path("weights") / name, writers.stored("ggml"))
    assert read_checkpoint(resolve(name)).alignment_heads is None


def test_the_published_models():
    assert list(MODELS) == [
        *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
        *("large-v1", "large-v2", "large-v3", "large-v3-turbo"),
        *("distil-small.en", "distil-medium.en", "distil-large-v2", "distil-large-v3", "distil-large-v3.5"),
    ]
    assert ALIASES == {"large": "large-v3", "turbo": "large-v3-turbo"}
    for model in MODELS.values():
        dims = model.dims
        assert dims.is_multilingual != model.name.endswith(".en")
        assert dims.n_mels == (128 if dims.n_vocab == 51866 else 80)
        assert dims.n_audio_state == 64 * dims.n_audio_head
        if model.alignment_heads is not None:
            heads = np.array(model.alignment_heads)
            assert (heads < [dims.n_text_layer, dims.n_text_head]).all()
            assert sorted(set(model.alignment_heads)) == list(model.alignment_heads)
    counts = {name: len(model.alignment_heads) for name, model in MODELS.items() if model.alignment_heads is not None}
    assert list(counts.values()) == [8, 6, 5, 8, 19, 10, 18, 6, 9, 23, 10, 6]


def test_the_manifest():
    assert set(weights_packages()) == {"base", "tiny.en"}
    assert {package.extra for package in weights_packages().values()} == {"base", "tiny-en"}
    names = {name.removesuffix(".pt") for name in openai_sha256()}
    assert names == {name for name in MODELS if not name.startswith("distil")}
    repository = Path(__file__).resolve().parents[2]
    shipped = repository / "whisper_max" / "checkpoint" / "data" / "manifest.json"
    assert (repository / "weights" / "manifest.json").read_text() == shipped.read_text()


def test_reading_needs_neither_pytorch_nor_the_hub_library(writers, tmp_path):
    paths = [str(writers.write_stored(kind, tmp_path / kind, writers.stored(kind))) for kind in writers.formats]
    code = (
        "import sys; from whisper_max.checkpoint import read_checkpoint, resolve\n"
        "for path in sys.argv[1:]: read_checkpoint(resolve(path))\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'ctranslate2', 'max'} & set(sys.modules)))"
    )
    repository = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, cwd=repository, check=True
    )
    assert found.stdout == "[]\n"
