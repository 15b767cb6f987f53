from __future__ import annotations

import math

import numpy as np
import pytest

from whisper_max.speakers.fbank import fbank, n_fbank_frames


def by_definition(samples, at):
    """One frame, from Kaldi's definition, in float64 and with a Fourier transform written out."""
    frame = samples[at : at + 400].astype(np.float64)
    frame -= frame.mean()
    frame = np.array([frame[0] * 0.03, *(frame[1:] - 0.97 * frame[:-1])])
    frame *= [(0.5 - 0.5 * math.cos(2 * math.pi * n / 399)) ** 0.85 for n in range(400)]
    k, n = np.arange(256)[:, None], np.arange(400)
    power = np.abs(np.exp(-2j * np.pi * k * n / 512) @ frame) ** 2
    mel = [1127 * math.log(1 + bin * 16000 / 512 / 700) for bin in range(256)]
    low, high = (1127 * math.log(1 + hertz / 700) for hertz in (20, 8000))
    step = (high - low) / 81
    bins = []
    for number in range(80):
        middle = low + (number + 1) * step
        weights = [max(0.0, 1 - abs(each - middle) / step) for each in mel]
        bins.append(math.log(max(float(np.dot(weights, power)), float(np.finfo(np.float32).eps))))
    return bins


def test_features_are_kaldis():
    random = np.random.default_rng(0)
    samples = (random.normal(0, 0.1, 4000) + 0.05).astype(np.float32)
    features = fbank(samples)
    assert features.shape == (n_fbank_frames(4000), 80) == (23, 80)
    for frame in (0, 11, 22):
        np.testing.assert_allclose(features[frame], by_definition(samples, 160 * frame), atol=2e-3)


@pytest.mark.parametrize(("n_samples", "n_frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2)])
def test_only_whole_frames_count(n_samples, n_frames):
    assert fbank(np.ones(n_samples, np.float32)).shape == (n_frames, 80)
    assert n_fbank_frames(n_samples) == n_frames


def test_silence_is_finite():
    assert np.isfinite(fbank(np.zeros(1600, np.float32))).all()
