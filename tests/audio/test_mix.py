"""Channels that cancel each other are not mixed, and that is told."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.audio.io import load_audio, open_audio
from whisper_max.audio.mix import CANCELLING, Mixer

RATE = 16000


@pytest.fixture(scope="module")
def speech():
    samples, rate = soundfile.read("samples/jfk.flac", dtype="float32")
    assert rate == RATE
    return samples


def opened(*channels):
    """The mix of channels, and its warnings."""
    with open_audio(np.stack(channels, axis=1).astype(np.float32)) as waveform:
        return waveform.read(0, waveform.n_samples), list(waveform.warnings)


def likeness(found, expected):
    """1 where both are the same but for loudness."""
    return abs(found @ expected) / np.sqrt((found @ found) * (expected @ expected))


@pytest.mark.parametrize("factor", [1.0, 0.98, 0.9, 0.75])
def test_an_inverted_channel(speech, factor):
    found, [warning] = opened(speech, -factor * speech)
    assert np.abs(found - speech)[400:].max() < 1e-6
    assert warning.kind == CANCELLING
    assert (warning.start, warning.end) == (0, 11)
    assert warning.message == (
        "0.00 to 11.00 s: mixed, the channels would cancel each other: the loudest is used alone (11.00 s)"
    )


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
def test_an_inverted_channel_with_noise(speech, noise):
    hiss = noise * np.random.default_rng(0).standard_normal(len(speech))
    found, warnings = opened(speech, -speech + hiss)
    assert likeness(found, speech) > 0.999
    assert [warning.kind for warning in warnings] == [CANCELLING]


def test_an_inverted_channel_that_comes_a_sample_later(speech):
    later = np.roll(speech, 1)
    found, warnings = opened(speech, -later)
    assert max(likeness(found, speech), likeness(found, later)) > 0.98
    assert [warning.kind for warning in warnings] == [CANCELLING]


def test_inverted_from_the_middle_on(speech):
    middle = len(speech) // 2
    other = np.concatenate([speech[:middle], -speech[middle:]])
    found, [warning] = opened(speech, other)
    assert likeness(found, speech) > 0.995  # half of a piece is lost
    assert abs(warning.start - middle / RATE) < 0.21
    assert warning.end == 11.0


def test_one_of_six_microphones_that_the_mix_of_5_1_leaves_out(speech):
    nothing = np.zeros_like(speech)
    found, warnings = opened(nothing, nothing, nothing, speech, nothing, nothing)
    assert likeness(found, speech) > 0.999
    assert [warning.kind for warning in warnings] == [CANCELLING]


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: (x, 0 * x),
        lambda x: (x, -0.5 * x),
        lambda x: (x, np.roll(x, 40)),
        lambda x: (x, 0.5 * np.roll(x, 300)),
        lambda x: (x, np.roll(x, 4 * RATE)),
        lambda x: (*[0 * x] * 5, x),
        lambda x: (*[0 * x] * 7, 0.05 * x),
        lambda x: (0 * x, 0 * x),
        lambda x: (1e-6 * x, -1e-6 * x),
    ],
)
def test_what_does_not_cancel_is_mixed_as_ever(speech, mix):
    channels = np.stack(mix(speech), axis=1).astype(np.float32)
    with open_audio(channels) as waveform:
        found, warnings = waveform.read(0, waveform.n_samples), waveform.warnings
    assert list(warnings) == []
    weights = {2: [0.5, 0.5], 6: [0, 0, 0, 0, 0.146446, 0.146446], 8: [0] * 6 + [0.11327] * 2}[channels.shape[1]]
    assert np.abs(found - channels @ np.array(weights)).max() < 1e-5


def test_a_known_bass_speaker_is_never_used_alone(speech):
    mixer = Mixer(("FL", "FR", "FC", "LFE", "BL", "BR"), 6, RATE)
    channels = np.zeros((len(speech), 6), np.float32)
    channels[:, 3] = speech
    assert not mixer.mix(channels, last=True).any()
    assert mixer.warning() is None


@pytest.mark.seconds
@given(st.lists(st.integers(1, 50_000), min_size=1, max_size=6), st.sampled_from([8000, 16000, 44100]))
def test_the_same_comes_out_whatever_the_size_of_blocks(speech, sizes, rate):
    rng = np.random.default_rng(1)
    other = np.where(np.arange(len(speech)) // 30_000 % 2, -0.9, 0.9) * speech + 1e-3 * rng.standard_normal(len(speech))
    channels = np.stack([speech, other], axis=1).astype(np.float32)
    at_once = Mixer(None, 2, rate)
    expected = at_once.mix(channels, last=True)
    assert at_once.warning() is not None
    mixer, parts, place = Mixer(None, 2, rate), [], 0
    while place < len(channels):
        parts.append(mixer.mix(channels[place : place + sizes[len(parts) % len(sizes)]]))
        place += sizes[(len(parts) - 1) % len(sizes)]
    found = np.concatenate([*parts, mixer.mix(channels[:0], last=True)])
    assert np.array_equal(found, expected)
    assert mixer.warning() == at_once.warning()


def test_a_file_in_blocks_of_its_decoder_is_as_an_array(tmp_path, speech):
    channels = np.stack([speech, -speech], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="the channels would cancel each other"):
        assert np.array_equal(load_audio(tmp_path / "a.wav"), load_audio(channels))
