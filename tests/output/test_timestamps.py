import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.output.timestamps import format_lrc_timestamp, format_timestamp


@pytest.mark.parametrize(
    ("seconds", "plain", "hours", "lrc"),
    [
        (0.0, "00:00.000", "00:00:00.000", "00:00.00"),
        (0.0005, "00:00.000", "00:00:00.000", "00:00.00"),  # half of a millisecond, rounded to even
        (0.0015, "00:00.002", "00:00:00.002", "00:00.00"),
        (7.6, "00:07.600", "00:00:07.600", "00:07.60"),
        (59.9996, "01:00.000", "00:01:00.000", "01:00.00"),
        (3599.999, "59:59.999", "00:59:59.999", "59:59.99"),
        (3600.0, "01:00:00.000", "01:00:00.000", "60:00.00"),
        (360000.5, "100:00:00.500", "100:00:00.500", "6000:00.50"),
    ],
)
def test_known_times(seconds, plain, hours, lrc):
    assert format_timestamp(seconds) == plain
    assert format_timestamp(seconds, always_include_hours=True) == hours
    assert format_timestamp(seconds, always_include_hours=True, decimal_marker=",") == hours.replace(".", ",")
    assert format_lrc_timestamp(seconds) == lrc


@given(st.integers(0, 10**9))
def test_milliseconds_survive(ms):
    h, m, s, rest = map(
        int, re.fullmatch(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})", format_timestamp(ms / 1000, True)).groups()
    )
    assert ((h * 60 + m) * 60 + s) * 1000 + rest == ms
    without_hours = format_timestamp(ms / 1000)
    assert format_timestamp(ms / 1000, True) == (without_hours if h else f"00:{without_hours}")
