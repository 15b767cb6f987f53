"""Sizes in headers that are not those of the samples."""

from __future__ import annotations

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
