"""Both networks with their published weights against PyTorch; the reference is of scripts/reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whisper_max.audio.io import open_audio
from whisper_max.errors import OptionError
from whisper_max.model.speakers.shapes import WINDOW_SAMPLES
from whisper_max.speakers.diarize import load_networks
from whisper_max.speakers.fbank import fbank
from whisper_max.speakers.networks import bordered

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def networks():
    try:
        return load_networks()
    except OptionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reference():
    with np.load(REPOSITORY / "tests" / "reference" / "speakers.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def samples():
    with open_audio(REPOSITORY / "samples" / "jfk.flac") as waveform:
        return np.array(waveform.read(0, WINDOW_SAMPLES))


def assert_close(found, expected):
    """Both are in float32; each stage sees the errors of those before it."""
    stored = found.reshape(-1)[:: 1 if found.size < 10000 else 61]
    assert np.linalg.norm(stored - expected) < 1e-4 * np.linalg.norm(expected)


def test_features(samples, reference):
    np.testing.assert_allclose(fbank(samples[16000:40000]), reference["fbank"], atol=5e-3)


def test_segmentation(networks, samples, reference):
    sincnet, *_, lstm, logits = networks.stages("segment_stages", samples, np.zeros(1, np.int32))
    assert_close(sincnet[0, 0], reference["sincnet"])
    assert_close(lstm[0, 0], reference["lstm"])
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    assert_close(log_probabilities[0, 0], reference["log_probabilities"])


def test_embedding(networks, reference):
    features = reference["fbank"]
    stages = networks.stages("embed_stages", bordered([features - features.mean(axis=0)]))
    assert_close(stages[0][0, :, 2:-2].transpose(2, 0, 1), reference["head"])
    for stage, name in zip(stages[1:-1], ("tdnn", "transit1", "transit2", "out_nonlinear"), strict=True):
        assert_close(stage[0, 0].T, reference[name])
    assert_close(stages[-1], reference["dense"])
