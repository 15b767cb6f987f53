"""The real models against openai-whisper: every stage within its tolerance, every token the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.reference_samples import reference_samples
from whisper_max.commands.main import main
from whisper_max.measure.verify import read_reference, verify

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "tests" / "reference"
MODELS = ("base", "tiny.en")
LONGEST = 60.0  # seconds; the hour-long ones would take the tests' time for nothing new


def golden(model, name):
    return json.loads((REFERENCE / model / f"golden_{name}.json").read_text(encoding="utf-8"))


def clips(name, *models):
    return [
        pytest.param(model, path, id=f"{model}-{path}")
        for model in models
        for path, clip in golden(model, name)["clips"].items()
        if clip["seconds"] <= LONGEST
    ]


@pytest.fixture(scope="session")
def models(encoding_once):
    return lambda name: replace(encoding_once(name), as_openai=True)


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_is_within_its_tolerance(models, name):
    comparisons = list(verify(models(name).inference, read_reference(REFERENCE / name)))
    assert [comparison for comparison in comparisons if not comparison.passed] == []
    stages = json.loads((REFERENCE / name / "manifest.json").read_text())["stages"]
    assert {comparison.stage for comparison in comparisons} == set(stages) - {"mel", "mel_128"}


def test_verify_prints_the_table_draws_it_and_succeeds(capsys, tmp_path):
    command = ["verify", "tiny.en", "--reference", str(REFERENCE / "tiny.en"), "--device", "cpu"]
    assert main([*command, "--plot", str(tmp_path / "verify.html")]) == 0
    drawn = (tmp_path / "verify.html").read_text()
    assert all(text in drawn for text in ("relative error", "absolute error", "encoder.block.3", "logits.step.0"))
    assert "out of tolerance</td>" not in drawn
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("conv_stem ")
    assert lines[1].endswith("relative  ok")
    assert lines[-1] == "all stages are within tolerance"


def test_verify_fails_where_a_stage_is_off(capsys, tmp_path):
    manifest = json.loads((REFERENCE / "tiny.en" / "manifest.json").read_text())
    manifest["stages"]["ln_post"]["tolerance"] = 1e-12
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "stages.npz").write_bytes((REFERENCE / "tiny.en" / "stages.npz").read_bytes())
    assert main(["verify", "tiny.en", "--reference", str(tmp_path), "--device", "cpu"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 stages are out of tolerance"


def test_verify_of_another_model_or_no_reference_is_one_line(capsys, tmp_path):
    assert main(["verify", "tiny.en", "--reference", str(REFERENCE / "base"), "--device", "cpu"]) == 1
    sizes = ["n_audio_state {}", "n_audio_head {}", "n_audio_layer {}", "n_vocab {}", "n_text_state {}"]
    shown = ", ".join([*sizes, "n_text_head {}", "n_text_layer {}"])
    base, tiny = shown.format(512, 8, 6, 51865, 512, 8, 6), shown.format(384, 6, 4, 51864, 384, 6, 4)
    expected = f"error: the reference is of another model: expected {base}, found {tiny}\n"
    assert capsys.readouterr().err == expected
    assert main(["verify", "tiny.en", "--reference", str(tmp_path)]) == 1
    assert "not a reference folder" in capsys.readouterr().err


def transcribed(models, recordings, model, name, path):
    """Our transcript and the golden one of a clip, if both sides hear the same samples."""
    reference = golden(model, name)
    clip = reference["clips"][path]
    samples = reference_samples(recordings / path)
    if hashlib.sha256(np.ascontiguousarray(samples, "<f4").tobytes()).hexdigest() != clip["sha256"]:
        pytest.skip("the reference was made of other samples: its decoder misread this file, or this machine's differs")
    options = reference["options"] | clip.get("options", {})
    return models(model).transcribe(samples, **options, guard="off"), clip  # openai-whisper has no guard against loops


def assert_same_segments(ours, clip):
    assert [segment.tokens for segment in ours.segments] == [segment["tokens"] for segment in clip["segments"]]
    assert ours.language == clip["language"]
    for segment, expected in zip(ours.segments, clip["segments"], strict=True):
        assert segment.seek == expected["seek"]
        assert segment.start == pytest.approx(expected["start"], abs=1e-6)  # stored rounded
        assert segment.end == pytest.approx(expected["end"], abs=1e-6)
        assert segment.avg_logprob == pytest.approx(expected["avg_logprob"], abs=1e-3)
        assert segment.no_speech_prob == pytest.approx(expected["no_speech_prob"], abs=1e-3)


@pytest.mark.parametrize(("model", "path"), clips("greedy", *MODELS))
def test_greedy_tokens_are_the_same(models, recordings, model, path):
    ours, clip = transcribed(models, recordings, model, "greedy", path)
    assert_same_segments(ours, clip)


@pytest.mark.parametrize(("model", "path"), clips("translate", "base"))
def test_translations_are_the_same(models, recordings, model, path):
    ours, clip = transcribed(models, recordings, model, "translate", path)
    assert_same_segments(ours, clip)


@pytest.mark.parametrize(("model", "path"), clips("ladder", "base"))
def test_default_temperatures_give_the_same(models, recordings, model, path):
    ours, clip = transcribed(models, recordings, model, "ladder", path)
    assert_same_segments(ours, clip)


@pytest.mark.parametrize(("model", "path"), clips("beam5", "base")[::10])
def test_beams_of_5_give_the_same(models, recordings, model, path):
    ours, clip = transcribed(models, recordings, model, "beam5", path)
    assert_same_segments(ours, clip)


@pytest.mark.parametrize(("model", "path"), clips("words", "tiny.en") + clips("words", "base")[::4])
def test_words_are_within_one_encoder_position(models, recordings, model, path):
    ours, clip = transcribed(models, recordings, model, "words", path)
    found = [(word.word, word.start, word.end) for segment in ours.segments for word in segment.words or []]
    expected = [tuple(word[:3]) for segment in clip["segments"] for word in segment["words"]]
    assert [word for word, _, _ in found] == [word for word, _, _ in expected]
    np.testing.assert_allclose([times for _, *times in found], [times for _, *times in expected], atol=0.0201)


@pytest.mark.parametrize("model", MODELS)
def test_the_sample_that_comes_with_the_project(models, model):
    ours = models(model).transcribe(REPOSITORY / "samples" / "jfk.flac", temperature=0.0)
    assert_same_segments(ours, golden(model, "greedy")["clips"]["jfk/jfk.wav"])
