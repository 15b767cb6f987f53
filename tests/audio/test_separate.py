"""Channels one by one: each as it would be alone; those of the same sound found, silent ones left out."""

import io

import numpy as np
import pytest
import soundfile

from whisper_max.audio.io import MOST_CHANNELS, load_audio, open_channels
from whisper_max.audio.separate import separate
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import AudioError, OptionError

RATE = 16000


def voice(seed, seconds=6.0, loudness=0.1):
    """Noise that comes and goes like syllables."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    rises = np.repeat(rng.uniform(0, 1, n // 2000 + 1), 2000)[:n]
    return (rng.normal(0, loudness, n) * rises).astype(np.float32)


A, B = voice(1), voice(2)


def separated(*channels):
    voices, warnings = separate([ArrayWaveform(np.asarray(each, np.float32)) for each in channels])
    return [each.channels for each in voices], [(each.kind, each.message) for each in warnings], voices


def file_of(samples, rate=RATE, **how):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="wav", **how)
    file.seek(0)
    return file


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
@pytest.mark.parametrize("in_memory_seconds", [None, 1.0])
def test_each_channel_is_what_it_is_alone_to_the_last_bit(rate, n_channels, in_memory_seconds):
    samples = np.stack([voice(seed, 2.0)[: 2 * min(rate, RATE)] for seed in range(n_channels)], axis=1)
    with open_channels(file_of(samples, rate), in_memory_seconds=in_memory_seconds) as channels:
        assert len(channels) == n_channels
        for index, channel in enumerate(channels):
            alone = load_audio(file_of(samples[:, index], rate))
            assert np.array_equal(channel.read(0, channel.n_samples), alone)


def test_channels_of_an_array():
    with open_channels(np.stack([A, B], axis=1)) as channels:
        first, second = (each.read(0, len(A)) for each in channels)
        assert np.array_equal(first, A)
        assert np.array_equal(second, B)
    with open_channels(A) as channels:
        assert len(channels) == 1


def test_too_many_channels():
    many = np.zeros((100, MOST_CHANNELS + 1), np.float32)
    with pytest.raises(AudioError, match=f"too many channels: expected at most {MOST_CHANNELS}"), open_channels(many):
        pass


def test_no_sound_at_all_is_an_error_as_it_is_for_one_channel():
    with pytest.raises(AudioError), open_channels(io.BytesIO(b"")):
        pass


def test_different_voices_stay_as_they_are():
    channels, warnings, voices = separated(A, B)
    assert (channels, warnings) == ([(1,), (2,)], [])
    assert np.array_equal(voices[1].waveform.read(100, 200), B[100:200])


@pytest.mark.parametrize(
    ("other", "how"),
    [
        (A, "they are mixed"),
        (-A, "they are mixed"),
        (A * 0.2, "they are mixed"),
        (A + voice(5, loudness=0.03), "they are mixed"),
        (np.roll(A, 160) * np.float32(0.9), "the loudest is taken"),
    ],
    ids=["same", "inverted", "quieter", "noisy", "later"],
)
def test_the_same_sound_is_mixed_and_told(other, how):
    channels, warnings, voices = separated(A, other)
    assert channels == [(1, 2)]
    message = f"channels 1 and 2 carry the same sound: {how}, and no speakers are told apart by them"
    assert warnings == [("same sound", message)]
    mixed = voices[0].waveform.read(0, len(A))
    assert abs(np.corrcoef(mixed, A)[0, 1]) > 0.9  # inverted channels do not take each other out


def test_what_is_inverted_for_a_time_is_the_same_sound_and_is_not_added_up():
    sound = voice(7, seconds=20)
    other = 0.8 * np.where(np.arange(len(sound)) < len(sound) // 2, sound, -sound)
    channels, warnings, voices = separated(other, sound)
    assert channels == [(1, 2)]
    assert "the loudest is taken, and no speakers" in warnings[0][1]
    assert np.array_equal(voices[0].waveform.read(0, len(sound)), sound)


def test_the_same_twice_is_that():
    _, _, voices = separated(A, A)
    assert np.array_equal(voices[0].waveform.read(0, len(A)), A)


def test_pairs_among_many_channels():
    channels, warnings, _ = separated(A, B, A, voice(3), B)
    assert channels == [(1, 3), (2, 5), (4,)]
    assert [message for _, message in warnings] == [
        "channels 1 and 3 carry the same sound: they are mixed",
        "channels 2 and 5 carry the same sound: they are mixed",
    ]


def test_hum_that_all_share_makes_no_two_voices_the_same():
    hum = 0.2 * np.sin(2 * np.pi * 50 * np.arange(len(A)) / RATE)
    assert separated(A + hum, B + hum)[0] == [(1,), (2,)]


def test_what_leaks_from_one_to_the_other_makes_no_two_voices_the_same():
    assert separated(A + 0.1 * B, B + 0.1 * A)[0] == [(1,), (2,)]
    assert separated(A, 0.05 * A)[0] == [(1, 2)]  # nobody speaks in the second


def test_a_silent_channel_is_left_out_and_told():
    channels, warnings, _ = separated(A, A * 0)
    assert (channels, warnings) == ([(1,)], [("silent channel", "channel 2 is silent: nothing is transcribed of it")])
    assert separated(A * 0, A * 0)[0] == []


def test_a_quiet_channel_is_made_louder_and_another_is_not():
    _, _, voices = separated(A, B * 0.02)
    assert np.abs(voices[1].waveform.read(0, len(B))).max() == pytest.approx(0.3)
    assert np.array_equal(voices[0].waveform.read(0, len(A)), A)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 4800])
def test_short_channels(n_samples):
    part = slice(20_000, 20_000 + n_samples)
    assert len(separated(A[part], B[part])[0]) in (1, 2)


def test_one_channel_is_answered_clearly():
    with pytest.raises(OptionError, match="channels: the recording has one channel: there is nothing to separate"):
        separated(A)


def test_long_recordings_are_looked_at_in_blocks():
    long_a, long_b = voice(1, 20.0), voice(2, 20.0)
    assert separated(long_a, long_b)[0] == [(1,), (2,)]
    assert separated(long_a, long_a)[0] == [(1, 2)]
