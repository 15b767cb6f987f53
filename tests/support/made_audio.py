"""Recordings that tests make, and how they are heard."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import av
import pytest
import soundfile

from whisper_max.audio.io import open_audio
from whisper_max.errors import AudioError

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


def speech():
    return soundfile.read(SAMPLE, dtype="float32")[0]


def written(samples, rate, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **options)
    return file.getvalue()


def heard(content, **options):
    """The samples and the warnings."""
    with open_audio(io.BytesIO(content), **options) as waveform:
        return waveform.read(0, waveform.n_samples), list(waveform.warnings)


def refused(content):
    with pytest.raises(AudioError) as error, open_audio(io.BytesIO(content), strict=True):
        pass
    return str(error.value)


def media(format, codec, rate=48000, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        write_media(path, format, codec, rate, options)
        return path.read_bytes()


def write_media(path, format, codec, rate, options):
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for frame in source.decode(audio=0):
            for piece in resampler.resample(frame):
                container.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
