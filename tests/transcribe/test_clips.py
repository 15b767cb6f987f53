import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_max.errors import OptionError
from whisper_max.transcribe.clips import clip_warnings, seek_clips


@pytest.mark.parametrize(
    ("seconds", "clips"),
    [
        ([], [(0, 1234)]),
        ([0.0], [(0, 1234)]),
        ([1.5], [(150, 1234)]),
        ([1.5, 3.014], [(150, 301)]),
        ([1, 2, 5], [(100, 200), (500, 1234)]),
        ([2, 2, 0, 12.34], [(200, 200), (0, 1234)]),
    ],
)
def test_clips_in_frames(seconds, clips):
    assert seek_clips(seconds, 1234) == clips


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        ([-0.1, 5], "outside the recording: expected times from 0 to 12.34 s, found -0.1 s; leave the last end out"),
        ([13], "outside the recording: expected times from 0 to 12.34 s, found 13 s"),
        ([0, 5, 12.35, 13], "outside the recording: expected times from 0 to 12.34 s, found 12.35 s"),
        ([0, float("nan")], "outside the recording: expected times from 0 to 12.34 s, found nan s"),
        ([float("nan")], "outside the recording: expected times from 0 to 12.34 s, found nan s"),
        ([5, 4], "a clip ends before it starts: found 5.0 to 4.0 s"),
    ],
)
def test_impossible_clips(seconds, message):
    with pytest.raises(OptionError) as error:
        seek_clips(seconds, 1234)
    assert str(error.value).startswith("clip_timestamps: " + message)


@pytest.mark.parametrize("end", [12.345, 12.35, 13, 30, 1e9, float("inf")])
def test_a_clip_that_ends_beyond_the_recording_ends_with_it(end):
    assert seek_clips([2, end], 1234) == [(200, 1234)]
    warnings = clip_warnings([2, end], 1234)
    assert [(each.kind, each.start, each.end) for each in warnings] == ([("clip", 12.34, end)] if end > 13.34 else [])
    if end >= 12.35:
        with pytest.raises(OptionError, match="outside the recording"):
            seek_clips([2, end], 1234, strict=True)


@given(st.integers(0, 10_000), st.lists(st.floats(0, 1), max_size=7))
def test_every_clip_lies_in_the_recording(n_frames, fractions):
    seconds = sorted(fraction * n_frames / 100 for fraction in fractions)
    clips = seek_clips(seconds, n_frames)
    assert len(clips) == max(1, (len(seconds) + 1) // 2)
    assert all(0 <= start <= end <= n_frames for start, end in clips)
