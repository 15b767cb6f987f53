"""The guard with real models: what they invent in silence, and what is said."""

from pathlib import Path

import numpy as np
import pytest

from whisper_max.audio.io import load_audio

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"
RATE = 16000
LAX = {"language": "en", "temperature": 0.0, "no_speech_threshold": None, "logprob_threshold": None}


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def model(request, encoding_once):
    return encoding_once(request.param)


def test_what_is_invented_in_silence_and_noise_is_dropped(model):
    rng = np.random.default_rng(4)
    for samples in (np.zeros(5 * RATE, np.float32), rng.normal(0, 0.05, 5 * RATE).astype(np.float32)):
        marked = model.transcribe(samples, **LAX)
        dropped = model.transcribe(samples, guard="drop", **LAX)
        assert marked.text.strip()  # something is invented
        assert all(segment.doubt for segment in marked.segments if segment.text)
        assert dropped.text == ""
        assert [segment.text for segment in dropped.dropped] == [each.text for each in marked.segments if each.text]


def test_speech_is_kept_as_quiet_as_it_may_be(model):
    samples = load_audio(SAMPLE)[: 8 * RATE] * np.float32(1e-3)
    off = model.transcribe(samples, language="en", temperature=0.0, guard="off")
    kept = model.transcribe(samples, language="en", temperature=0.0, guard="drop")
    assert "what your country can do for you" in kept.text
    assert (kept.text, kept.dropped) == (off.text, [])


def test_what_is_said_again_and_again_is_no_loop(model):
    speech = load_audio(SAMPLE)[int(5.3 * RATE) : int(8.1 * RATE)]
    samples = np.tile(np.concatenate([speech, np.zeros(RATE // 4, np.float32)]), 6)
    kept = model.transcribe(samples, language="en", temperature=0.0, guard="drop")
    assert kept.text.lower().count("what your country can do for you") == 6
    assert (kept.dropped, kept.warnings) == ([], [])


@pytest.mark.parametrize(
    "options", [{"initial_prompt": "A speech about Americans."}, {"hotwords": "Kennedy Americans"}]
)
def test_a_prompt_over_silence_is_not_what_is_said(model, options):
    silence = np.zeros(5 * RATE, np.float32)
    assert model.transcribe(silence, guard="drop", **options, **LAX).text == ""


def test_nothing_is_invented_behind_speech(model):
    """A window and somewhat more: the second one has nothing but faint noise."""
    speech = load_audio(SAMPLE)
    noise = np.random.default_rng(310).normal(0, 0.003, 31 * RATE).astype(np.float32)
    noise[: len(speech)] += speech
    result = model.transcribe(noise, language="en", guard="drop")
    assert result.text.lower().rstrip().endswith("what you can do for your country.")
