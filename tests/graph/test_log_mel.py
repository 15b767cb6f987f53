"""The log-mel graphs against ``audio/mel.py``."""

from __future__ import annotations

import numpy as np
import pytest

from whisper_max.audio.device_mel import fourier_basis, window_samples
from whisper_max.audio.mel import MelWindows, mel_filters
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.graph.log_mel import HOP_LENGTH

N_FRAMES = 104  # of the windows that the graphs of these tests take
TOLERANCE = 1e-4


def recordings():
    rng = np.random.default_rng(0)
    t = np.arange(3 * N_FRAMES * HOP_LENGTH + 77) / 16000
    noise = rng.standard_normal(len(t))
    return {
        "noise": 0.1 * noise,
        "a loud tone over faint noise": 0.9 * np.sin(2 * np.pi * 440 * t) + 1e-4 * noise,
        "a glide": 0.5 * np.sin(2 * np.pi * (80 + 2000 * t) * t) * (t % 0.3 > 0.1),
        "short": 0.1 * noise[:5000],
        "faint": 1e-4 * noise,
    }


@pytest.mark.parametrize("name", recordings())
def test_windows_are_those_of_the_host(device_graphs, name):
    samples = recordings()[name].astype(np.float32)
    waveform, filters = ArrayWaveform(samples), np.ascontiguousarray(mel_filters(80).T)
    expected = MelWindows(waveform, 80)
    seeks = [seek for seek in (0, 100, 250) if seek < expected.n_frames]
    sizes = [min(N_FRAMES, expected.n_frames - seek) for seek in seeks]
    windows = np.stack([window_samples(waveform, seek, N_FRAMES) for seek in seeks])
    decades, highest = device_graphs["log_mel"].execute(windows, fourier_basis(), filters)
    decades = decades.to_numpy()
    np.testing.assert_array_equal(highest.to_numpy(), decades.max((1, 2)))
    loudest = np.array([expected._log_max + place for place in range(len(seeks))], np.float32)
    (mel,) = device_graphs["scale_mel"].execute(decades, loudest, np.array(sizes, np.int32))
    for place, (ours, seek, size) in enumerate(zip(mel.to_numpy(), seeks, sizes, strict=True)):
        expected.__dict__["_log_max"] = loudest[place]  # as if the windows were of recordings of different loudness
        theirs = expected.window(seek, size)[:, :N_FRAMES]
        assert np.abs(ours - theirs).max() < TOLERANCE
        assert (ours[:, size:] == 0).all()
