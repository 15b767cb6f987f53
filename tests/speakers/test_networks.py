"""Both graphs, as they ship, against NumPy in float64 with random weights, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import numpy_speakers
from whisper_max.compile.speakers import find_speakers
from whisper_max.hardware.threads import start_workers
from whisper_max.model.speakers.shapes import (
    BLOCKS,
    EMBEDDING,
    FRAME_SAMPLES,
    N_CLASSES,
    N_FRAMES,
    N_MELS,
    WINDOW_SAMPLES,
)
from whisper_max.speakers.files import embedding_shapes, segmentation_shapes
from whisper_max.speakers.networks import SpeakerNetworks, bordered

pytestmark = pytest.mark.slow


def random_state(shapes, seed):
    """Random weights that keep values about as large as they are; variances are above 0."""
    random = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        values = random.normal(0, (np.prod(shape[1:]) or 1) ** -0.5 if len(shape) > 1 else 0.3, shape)
        if name.endswith(
            ("norm.weight", "running_var", "norm1d.weight", "bn1.weight", "bn2.weight", "shortcut.1.weight")
        ):
            values = random.uniform(0.5, 1.5, shape)
        state[name] = values.astype(np.float32)
    bank = "sincnet.conv1d.0.filterbank"
    if f"{bank}.n_" in state:
        state[f"{bank}.n_"] = (2 * np.pi * np.arange(-125, 0) / 16000).astype(np.float32)[None]
        state[f"{bank}.low_hz_"] = random.uniform(0, 3000, (40, 1)).astype(np.float32)
        state[f"{bank}.band_hz_"] = random.uniform(0, 800, (40, 1)).astype(np.float32)
    return state


@pytest.fixture(scope="module")
def states():
    return random_state(segmentation_shapes(), 1), random_state(embedding_shapes(), 2)


@pytest.fixture(scope="module")
def networks(states):
    start_workers()
    return SpeakerNetworks(find_speakers(print), *states)


def assert_close(found, expected):
    """Within what float32 loses: a few millionths of the largest value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()


def test_segmentation_is_the_network_stage_by_stage(networks, states):
    random = np.random.default_rng(3)
    window = random.normal(0, 0.1, WINDOW_SAMPLES) * np.linspace(0, 1, WINDOW_SAMPLES)
    window = (window + 0.05).astype(np.float32)  # a mean, which is taken off what the filters give
    stages = networks.stages("segment_stages", window, np.zeros(1, np.int32))
    expected = numpy_speakers.segment_stages(window, states[0])
    assert len(stages) == len(expected)
    for found, value in zip(stages, expected, strict=True):
        assert_close(found[0, 0], value)


def test_windows_are_heard_alike_alone_and_together(networks):
    random = np.random.default_rng(4)
    starts = [0, 1, 250, *range(592, 592 + 9 * 296, 296), 3000]
    sound = random.normal(0.05, 0.1, 3000 * FRAME_SAMPLES + WINDOW_SAMPLES).astype(np.float32)
    together = networks.segment(sound, starts)
    assert together.shape == (13, N_FRAMES, N_CLASSES)
    for number in (0, 1, 6, 12):
        window = sound[starts[number] * FRAME_SAMPLES :][:WINDOW_SAMPLES]
        np.testing.assert_array_equal(networks.segment(window, [0])[0], together[number])


@pytest.mark.parametrize("n_frames", [50, 99, 201, 300])
def test_embedding_is_the_network_stage_by_stage(networks, states, n_frames):
    features = np.random.default_rng(n_frames).normal(0, 2, (n_frames, N_MELS)).astype(np.float32)
    stages = networks.stages("embed_stages", bordered([features]))
    head, *rest = numpy_speakers.embed_stages(features, states[1], BLOCKS)
    assert_close(stages[0][0, :, 2:-2], head.transpose(1, 2, 0))
    for found, value in zip(stages[1:-1], rest[:-1], strict=True):
        assert_close(found[0, 0], value.T)
    assert_close(stages[-1][0, 0, 0], rest[-1])
    (vector,) = networks.embed([features])
    np.testing.assert_allclose(vector, rest[-1] / np.linalg.norm(rest[-1]), atol=1e-5)


def test_voices_are_heard_alike_alone_and_together(networks):
    random = np.random.default_rng(5)
    voices = [random.normal(0, 2, (150, N_MELS)).astype(np.float32) for _ in range(5)]
    together = networks.embed(voices)
    assert together.shape == (5, EMBEDDING)
    np.testing.assert_array_equal(networks.embed(voices[3:4])[0], together[3])


def test_digital_silence_is_finite(networks):
    assert np.isfinite(networks.segment(np.zeros(WINDOW_SAMPLES, np.float32), [0])).all()
    assert np.isfinite(networks.embed([np.zeros((50, N_MELS), np.float32)])).all()
