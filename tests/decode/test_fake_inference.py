"""The fake model knows a window by its content, not by one machine's rounding of it."""

import numpy as np
import pytest

from tests.support.fake_inference import signature
from whisper_max.audio.mel import MelWindows
from whisper_max.audio.waveform import ArrayWaveform


def noise(seconds: float, key: int = 0) -> np.ndarray:
    return np.random.default_rng(key).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)


@pytest.mark.parametrize("waveform", [noise(30), noise(12.3), np.zeros(160_000, np.float32)], ids=len)
def test_rounding_leaves_a_window_what_it_is(waveform):
    mel = MelWindows(ArrayWaveform(waveform), 2).window(0)
    for key in range(20):
        rounded = mel + np.random.default_rng(key).uniform(-3e-7, 3e-7, mel.shape).astype(np.float32)
        assert (rounded != mel).any()
        assert signature(rounded) == signature(mel)


@pytest.mark.seconds
def test_other_windows_are_others():
    mels = [MelWindows(ArrayWaveform(noise(30, key)), 2) for key in range(100)]
    found = [mel.window(seek) for mel in mels for seek in (0, 1)]  # a frame later is another window
    assert len({signature(mel) for mel in found}) == 200
