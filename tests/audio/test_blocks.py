"""Blocks of a recording together are what one read of it gives."""

from __future__ import annotations

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.made_audio import heard, speech, written
from whisper_max.audio.decoders import decode
from whisper_max.audio.reading import Reading

RATES = (8000, 16000, 24000, 44100, 48000)


@pytest.mark.seconds
@given(
    rate=st.sampled_from(RATES),
    n_channels=st.integers(1, 2),
    mode=st.sampled_from(["CONSTANT", "AVERAGE", "VARIABLE"]),
    level=st.floats(0, 0.99),
)
@settings(max_examples=25, deadline=None)
def test_blocks_of_mp3_equal_one_read_of_it(tmp_path_factory, rate, n_channels, mode, level):
    samples = np.resize(speech(), (n_channels, rate * 12)).T  # at another pitch, which does not matter
    path = tmp_path_factory.mktemp("mp3") / "a.mp3"
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode=mode, compression_level=level)
    with av.open(str(path)) as container:
        whole = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1).T
    found = read_in_blocks(path, rate)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)
    # mpg123 rounds otherwise, and hears a frame or two of a few kbit/s as neither FFmpeg nor minimp3 does
    by_mpg123, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert found.shape == by_mpg123.shape
    assert np.mean(np.abs(found - by_mpg123) > 1e-5) < 0.02


def test_no_decoder_writes_to_stderr(capfd):
    content = bytearray(written(speech(), 16000, format="MP3", bitrate_mode="VARIABLE", compression_level=0.9))
    content[5000:5400] = bytes(400)
    heard(bytes(content))
    assert capfd.readouterr().err == ""


FORMATS = [
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_24"),
    ("AU", "ULAW"), ("CAF", "PCM_32"), ("W64", "PCM_16"), ("RF64", "PCM_16"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_blocks_equal_one_read(tmp_path, format, subtype, n_channels):
    path = tmp_path / "a"
    soundfile.write(path, np.resize(speech(), (n_channels, 300_000)).T, 44100, format=format, subtype=subtype)
    whole, rate = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_allclose(read_in_blocks(path, rate), whole, rtol=0, atol=1e-6)


def read_in_blocks(path, rate):
    with open(path, "rb", buffering=0) as file:
        blocks = list(decode(file, Reading(str(path), strict=True)))
    assert len(blocks) > 1
    assert {block.sampling_rate for block in blocks} == {rate}
    return np.concatenate([block.samples for block in blocks])
