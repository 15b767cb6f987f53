"""Sizes in headers that are not those of the samples."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tests.support.made_audio import heard, speech, written


def with_size(content, mark, at, size):
    """Content with another size, some bytes behind a mark."""
    at += content.index(mark)
    return content[:at] + size + content[at + len(size) :]


@pytest.mark.parametrize(
    ("format", "mark", "at", "size", "end"),
    [
        ("AU", b".snd", 8, bytes(4), None),
        ("AU", b".snd", 8, b"\xff" * 4, None),
        ("AU", b".snd", 8, (704_000).to_bytes(4), 22),
        ("CAF", b"data", 4, b"\xff" * 8, None),
        ("CAF", b"data", 4, (704_004).to_bytes(8), 22),
        ("W64", b"data", 16, (704_024).to_bytes(8, "little"), 22),
        ("W64", b"data", 16, bytes(8), None),
    ],
)
def test_what_is_there_is_heard_whatever_its_size_by_the_header(format, mark, at, size, end):
    content = written(speech(), 16000, format=format, subtype="PCM_16")
    whole, _ = heard(content)
    samples, warnings = heard(with_size(content, mark, at, size))
    assert np.array_equal(samples, whole)
    assert [(warning.kind, round(warning.end)) for warning in warnings] == ([("truncated", end)] if end else [])


def ds64(samples, mark=b"RF64", declared=None):
    """A file of 16 bits whose size stands in 64 bits before them, as of EBU Tech 3306."""
    data = np.round(samples * 32767).astype("<i2").tobytes()
    size = len(data) if declared is None else declared
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, 72 + len(data), size, len(data) // 2, 0)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return mark + b"\xff" * 4 + b"WAVE" + sizes + form + b"data" + b"\xff" * 4 + data


@pytest.mark.parametrize("mark", [b"RF64", b"BW64"])
@pytest.mark.parametrize(("declared", "end"), [(0, None), (704_000, 22), (1 << 33, 268_435), ((1 << 64) - 1, None)])
def test_a_size_of_64_bits_may_be_missing_or_more_than_there_is(mark, declared, end):
    whole, _ = heard(ds64(speech(), mark))
    samples, warnings = heard(ds64(speech(), mark, declared))
    assert len(whole) == 176_000
    assert np.array_equal(samples, whole)
    assert [(warning.kind, round(warning.end)) for warning in warnings] == ([("truncated", end)] if end else [])


def test_a_w64_file_of_a_program_that_was_cut_off_is_no_two():
    content = written(speech(), 16000, format="W64", subtype="PCM_16")
    samples, warnings = heard(content[:16] + bytes(8) + content[24:])
    assert len(samples) == 176_000
    assert warnings == []


def test_all_samples_of_a_wav_file_are_heard_where_they_stand_in_several_chunks():
    content = written(speech(), 16000, format="WAV", subtype="PCM_16")
    more = [b"data" + len(some).to_bytes(4, "little") + some for some in (bytes([7]) * 32_000, bytes([8]) * 64_000)]
    samples, warnings = heard(content + more[0] + b"LIST\4\0\0\0INFO" + more[1])
    assert len(samples) == 176_000 + 16_000 + 32_000
    assert np.array_equal(samples[:176_000], heard(content)[0])
    assert np.array_equal(samples[176_000:] * 32768, [0x0707] * 16_000 + [0x0808] * 32_000)
    assert warnings == []
