"""Files that are made to be looked through for ever: every look is bounded, and ends where nobody wants it."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from whisper_max.audio.io import open_audio
from whisper_max.errors import AudioError

SIZE = 4 << 20  # bytes
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def page(flags, serial, number, content=b""):
    head = b"OggS\0" + bytes([flags]) + bytes(8) + struct.pack("<III", serial, number, 0)
    whole = bytearray(head + bytes([1, len(content)]) + content if content else head + b"\0")
    crc = zlib.crc32(bytes(whole).translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    whole[22:26] = crc.to_bytes(4).translate(MIRRORED)
    return bytes(whole)


WAV = b"RIFF" + struct.pack("<I", SIZE) + b"WAVE"
FMT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
FILES = {
    "chunks before the samples": WAV + b"JUNK\0\0\0\0" * (SIZE // 8),
    "chunks after the samples": WAV + FMT + b"data\4\0\0\0" + bytes(4) + b"JUNK\0\0\0\0" * (SIZE // 8),
    "chunks of aiff": b"FORM" + struct.pack(">I", SIZE) + b"AIFF" + b"JUNK\0\0\0\0" * (SIZE // 8),
    "chunks of caf": b"caff\0\1\0\0" + (b"free" + bytes(8)) * (SIZE // 12),
    "boxes": b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x08free" * (SIZE // 8),
    "elements of matroska": b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * (SIZE // 2),
    "nothing but beginnings of blocks": b"\x1a\x45\xdf\xa3\x80" + b"\xa3\x84\x81" * (SIZE // 3),
    "tags of flv": b"FLV\1\4\0\0\0\x09\0\0\0\0" + bytes(15) * (SIZE // 15),
    "tags": b"ID3\x04\0\0\0\0\0\0" * (SIZE // 10),
    "streams of ogg": b"".join(page(2, number, 0, b"\x01vorbis") for number in range(20_000)),
    "marks of ogg": page(2, 1, 0, b"OpusHead\1\1\0\0\x80\xbb\0\0\0\0\0") + b"OggS" * (SIZE // 4),
    "flac files": b"fLaC\x00\x00\x00\x22" * (SIZE // 8),
    "beginnings of frames": b"\xff\xf1\x50\x80\x01\x1f\xfc\0" * 2 + b"\xff\xf1" * (SIZE // 2),
}


@pytest.mark.seconds
@pytest.mark.parametrize("what", FILES)
def test_a_look_through_is_bounded(what):
    looks = []
    with pytest.raises(AudioError), open_audio(io.BytesIO(FILES[what]), on_decoded=looks.append):
        pass
    assert len(looks) <= 201_100  # the boxes of a recording in fragments; all others are given up far earlier
    assert what == "boxes" or len(looks) <= 100_100


@pytest.mark.parametrize("what", FILES)
def test_a_look_through_ends_where_nobody_wants_it(what):
    class Unwanted(Exception):
        pass

    looks = []

    def look(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise Unwanted

    with pytest.raises((Unwanted, AudioError)), open_audio(io.BytesIO(FILES[what]), on_decoded=look):
        pass
    assert len(looks) <= 3


def test_sizes_beyond_all_files_are_no_places():
    most = 0xFFFFFFFFFFFFFFFF
    for head in (
        b"\0\0\0\1ftyp" + struct.pack(">Q", most) + bytes(100),
        b"caff\0\1\0\0free" + struct.pack(">q", most >> 1) + bytes(100),
        b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0"
        + struct.pack("<QQQI", most, most, most, 0)
        + FMT
        + b"data\xff\xff\xff\xff",
        b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", most) + bytes(100),
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    ):
        with suppress(AudioError), open_audio(io.BytesIO(head)) as waveform:
            assert waveform.n_samples == 0


def test_libsndfile_is_not_asked_for_what_it_would_guess(capfd):
    with pytest.raises(AudioError), open_audio(io.BytesIO(b"\xff\xfb" + bytes(100_000))):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "format", [each for each in soundfile.available_formats() if each not in ("RAW", "SD2", "MP3")]
)
@pytest.mark.parametrize("endian", ["FILE", "LITTLE", "BIG"])
def test_every_format_of_libsndfile_is_known(tmp_path, format, endian):
    path = tmp_path / "a"
    samples = np.zeros(1600)
    samples[800] = 0.5
    try:
        soundfile.write(path, samples, 16000, format=format, endian=endian)
    except (soundfile.LibsndfileError, ValueError, TypeError):
        pytest.skip(f"libsndfile writes no {format} of that order of bytes")
    with open_audio(path) as waveform:
        info = soundfile.info(str(path))
        n_samples = round(info.frames * 16000 / info.samplerate)
        assert abs(waveform.n_samples - n_samples) <= 1
        loudest = np.argmax(np.abs(waveform.read(0, n_samples)))
    assert abs(loudest - 800 / info.frames * n_samples) < 5
