"""Every container and codec that can be written here is read; the guide's table is made from this list.

``python tests/audio/test_containers.py`` writes the table.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest

from whisper_max.audio.io import open_audio

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
START, END = "<!-- containers: written by tests/audio/test_containers.py -->\n", "<!-- end of containers -->\n"

CONTAINERS = {
    "3gp": "aac libopencore_amrnb",
    "ac3": "ac3",
    "adts": "aac",
    "adx": "adpcm_adx",
    "aiff": "pcm_s16be",
    "amr": "libopencore_amrnb",
    "asf": "libmp3lame",
    "au": "pcm_mulaw",
    "avi": "aac ac3 adpcm_ms libmp3lame pcm_s16le",
    "caf": "alac pcm_s16le",
    "eac3": "eac3",
    "f4v": "aac",
    "flac": "flac",
    "flv": "aac libmp3lame nellymoser",
    "ipod": "aac alac",
    "ircam": "pcm_s16le",
    "ismv": "aac",
    "latm": "aac",
    "matroska": "aac ac3 alac eac3 flac libmp3lame libopus mp2 pcm_s16le tta wavpack",
    "mov": "aac ac3 adpcm_ima_qt alac libmp3lame pcm_alaw pcm_mulaw pcm_s16be pcm_s16le",
    "mp2": "mp2",
    "mp3": "libmp3lame",
    "mp4": "aac ac3 alac eac3 flac libmp3lame libopus mp2",
    "mpeg": "mp2",
    "mpegts": "aac ac3 eac3 libmp3lame libopus mp2",
    "nut": "libopus pcm_s16le",
    "ogg": "flac libopus",
    "rm": "ac3",
    "sox": "pcm_s32le",
    "spdif": "ac3",
    "tta": "tta",
    "vob": "ac3",
    "voc": "pcm_u8",
    "w64": "pcm_s16le",
    "wav": "ac3 adpcm_ima_wav adpcm_ms g726 libmp3lame pcm_alaw pcm_f32le pcm_mulaw pcm_s16le pcm_s24le",
    "webm": "libopus",
    "wtv": "mp2",
    "wv": "wavpack",
}
PAIRS = [(container, codec) for container, codecs in CONTAINERS.items() for codec in codecs.split()]
RATES = {"libopencore_amrnb": 8000, "g726": 8000, "nellymoser": 16000}
NAMES = {"libopencore_amrnb": "amr_nb", "libmp3lame": "mp3", "libopus": "opus"}


@pytest.mark.parametrize(("container", "codec"), PAIRS)
def test_it_is_read_whole(tmp_path, container, codec):
    path = tmp_path / "a"
    rate = RATES.get(codec, 48000)
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)).astype(np.float32)
    try:
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
            size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format, stream.layout, rate, frame_size=size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(piece))
            file.mux(stream.encode(None))
    except (av.codec.codec.UnknownCodecError, av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV writes no {codec} to {container}: {error}")
    with open_audio(path, strict=True) as waveform:
        assert list(waveform.warnings) == []
        assert waveform.duration == pytest.approx(3, abs=0.05)
        heard = waveform.read(4000, 44000)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * 16000 / len(heard) == pytest.approx(440, abs=5)  # voc rounds its rate


def with_table(guide: str) -> str:
    rows = [
        f"| {container} | {', '.join(NAMES.get(codec, codec) for _, codec in pairs)} |\n"
        for container, pairs in groupby(PAIRS, lambda pair: pair[0])
    ]
    before, rest = guide.split(START)
    return f"{before}{START}\n| container | codecs |\n| --- | --- |\n{''.join(rows)}\n{END}{rest.split(END)[1]}"


def test_the_guide_has_them_all():
    guide = GUIDE.read_text(encoding="utf-8")
    assert guide == with_table(guide)
    assert len(PAIRS) >= 80


if __name__ == "__main__":
    GUIDE.write_text(with_table(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
