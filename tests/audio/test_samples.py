"""Files of samples that libsndfile would take for others."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.support.made_audio import heard, speech, written
from whisper_max.errors import AudioError

_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # behind the name of a chunk of w64
_FLOAT, _MULAW = 3, 7


def w64(data, subformat, n_bits):
    """A file with WAVE_FORMAT_EXTENSIBLE, as programs write it for floats."""

    def chunk(name, content):
        size = struct.pack("<Q", 24 + len(content))
        return name + _GUID + size + content + bytes(-len(content) % 8)

    n_bytes = n_bits // 8
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 16000 * n_bytes, n_bytes, n_bits, 22, n_bits, 4)
    form += struct.pack("<HHHH", subformat, 0, 0, 0x10) + bytes.fromhex("800000aa00389b71")
    body = b"wave" + _GUID + chunk(b"fmt ", form) + chunk(b"data", data)
    return b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000") + struct.pack("<Q", 24 + len(body)) + body


def test_floats_in_an_extensible_w64_are_no_integers():
    samples, warnings = heard(w64(speech().astype("<f4").tobytes(), _FLOAT, 32))
    assert np.array_equal(samples, speech())
    assert warnings == []


def test_mu_law_in_an_extensible_w64_is_no_integers():
    content = written(speech(), 16000, format="RAW", subtype="ULAW")
    samples, _ = heard(w64(content, _MULAW, 8))
    assert len(samples) == len(speech())
    assert np.abs(samples - speech()).max() < 0.05


def test_the_heads_of_blocks_in_a_voc_file_are_no_sound():
    samples = np.round(speech()[:32000] * 32767).astype("<i2").tobytes()
    first = struct.pack("<IBBH4x", 16000, 16, 1, 4) + samples[:20_000]
    blocks = b"\x09" + len(first).to_bytes(3, "little") + first
    for start in range(20_000, len(samples), 4000):
        rest = samples[start : start + 4000]
        blocks += b"\x02" + len(rest).to_bytes(3, "little") + rest
    heard_samples, warnings = heard(
        b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x114, 0x111F) + blocks + b"\0"
    )
    assert np.array_equal(heard_samples * 32768, np.frombuffer(samples, "<i2"))
    assert warnings == []


def test_a_tag_before_a_wav_file_is_passed_over():
    content = written(speech(), 16000, format="WAV", subtype="PCM_16")
    samples, warnings = heard(b"ID3\3\0\0\0\0\2\0" + bytes(256) + content)
    assert len(samples) == len(speech())
    assert warnings == []


@pytest.mark.parametrize(("n_bytes", "n_bits"), [(4, 24), (4, 16), (2, 12)])
def test_padded_samples_of_caf_are_refused_not_read_without_the_gaps(n_bytes, n_bits):
    form = struct.pack(">d4sIIIII", 16000, b"lpcm", 0, n_bytes, 1, 1, n_bits)
    data = bytes(4) + b"\1" * n_bytes * 16000
    content = b"caff\0\1\0\0desc" + (32).to_bytes(8) + form + b"data" + len(data).to_bytes(8) + data
    with pytest.raises(AudioError, match="padded samples"):
        heard(content)
