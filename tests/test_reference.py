"""The reference data itself: whole, consistent, and made from the samples that the package decodes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.reference_samples import reference_samples
from whisper_max.audio.io import load_audio
from whisper_max.errors import CheckpointError

MODELS = ("base", "tiny.en")
REPOSITORY = Path(__file__).resolve().parents[1]
N_BLOCKS = {"base": 6, "tiny.en": 4}


@pytest.mark.parametrize("model", MODELS)
def test_every_stage_is_stored_as_its_manifest_says(reference: Callable[[str], Any], model: str):
    dump = reference(model)
    assert set(dump.stages) == set(dump.manifest["stages"])
    for name, entry in dump.manifest["stages"].items():
        stored = dump.stages[name]
        assert stored.dtype == np.float32
        assert len(stored) == math.ceil(math.prod(entry["shape"]) / entry["stride"]), name
        assert np.isfinite(stored).all(), name
        assert entry["error"] in ("relative", "absolute")


@pytest.mark.parametrize("model", MODELS)
def test_the_stages_are_those_of_the_walk(reference: Callable[[str], Any], model: str):
    names = [name for name in reference(model).manifest["stages"] if not name.startswith("logits.")]
    blocks = range(N_BLOCKS[model])
    assert names == [
        "mel",
        "mel_128",
        "conv_stem",
        "conv_stem+positional_embedding",
        *(f"encoder.block.{i}" for i in blocks),
        "ln_post",
        *(f"cross_kv.{i}.{part}" for i in blocks for part in ("key", "value")),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_logits_are_there_for_every_prompt_position_and_token(reference: Callable[[str], Any], model: str):
    manifest = reference(model).manifest
    n_prompt, n_long = len(manifest["prompt"]), len(manifest["long_prompt"])
    assert len(manifest["tokens"]) == 16
    assert [name for name in manifest["stages"] if name.startswith("logits.")] == [
        *(f"logits.prefill.{i}" for i in range(n_prompt)),
        *(f"logits.step.{i}" for i in range(16)),
        *(f"logits.prompted.{i}" for i in range(n_long - n_prompt, n_long)),
    ]


def test_a_stage_agrees_with_itself_and_an_error_is_measured(reference: Callable[[str], Any]):
    dump = reference("tiny.en")
    mel = dump.whole("mel")
    assert mel.shape == (1, 80, 3000)
    assert dump.compare("mel", mel).error == 0.0
    assert dump.compare("mel", mel[0] + np.float32(0.5)).error == pytest.approx(0.5, abs=1e-6)
    assert float(np.linalg.norm(mel.astype(np.float64))) == pytest.approx(dump.manifest["stages"]["mel"]["norm"])
    ones = np.ones(dump.manifest["stages"]["ln_post"]["shape"], np.float32)
    samples = dump.stages["ln_post"].astype(np.float64)
    assert dump.compare("ln_post", ones).error == pytest.approx(np.linalg.norm(1 - samples) / np.linalg.norm(samples))
    with pytest.raises(CheckpointError, match=r"ln_post: not the reference's shape: expected \[1, 1500, 384\]"):
        dump.compare("ln_post", ones[0, 1:])
    with pytest.raises(CheckpointError, match="ln_post: only some values of this stage are stored"):
        dump.whole("ln_post")


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_was_made_from_the_known_weights(
    reference: Callable[[str], Any], golden: Callable[[str, str], Any], model: str
):
    known = {
        "base": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        "tiny.en": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    }
    assert reference(model).manifest["weights"]["sha256"] == known[model]
    assert golden(model, "greedy")["weights"]["sha256"] == known[model]


@pytest.mark.parametrize("model", MODELS)
def test_the_sample_of_this_repository_is_the_input(
    reference: Callable[[str], Any], golden: Callable[[str, str], Any], model: str
):
    samples = load_audio(REPOSITORY / "samples" / "jfk.flac").astype("<f4")
    sha256 = hashlib.sha256(samples.tobytes()).hexdigest()
    assert reference(model).manifest["input"]["sha256"] == sha256
    assert golden(model, "greedy")["clips"]["jfk/jfk.wav"]["sha256"] == sha256


def test_golden_segments_hold_what_a_segment_has(reference_folder: Path):
    paths = sorted(reference_folder.glob("*/golden_*.json"))
    assert len(paths) >= 6
    for path in paths:
        golden = json.loads(path.read_text(encoding="utf-8"))
        for clip in golden["clips"].values():
            assert "".join(segment["text"] for segment in clip["segments"]) == clip["text"]
            for segment in clip["segments"]:
                assert ("words" in segment) is bool(golden["options"].get("word_timestamps"))
                assert 0 <= segment["start"] <= segment["end"]


def test_both_sides_hear_the_same_samples(golden: Callable[[str, str], Any], recordings: Path):
    differ = []
    for name, clip in golden("base", "greedy")["clips"].items():
        samples = reference_samples(recordings / name).astype("<f4")
        if hashlib.sha256(samples.tobytes()).hexdigest() != clip["sha256"]:
            differ.append(name)
    # Of these the references heard blocks, whose first frames libmpg123 decoded without the bits before them.
    assert differ == ["jfk/jfk.mp3", "en_misc/multilingual.mp3", "longform/aeneas_de.mp3", "longform/aeneas_es.mp3"]
