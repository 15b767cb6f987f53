import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.audio.io import load_audio
from whisper_max.errors import AudioError, OptionError
from whisper_max.live.buffer import StreamBuffer
from whisper_max.live.inbox import Inbox
from whisper_max.live.intake import Intake


def in_chunks(samples, sizes):
    position = turn = 0
    while position < len(samples):
        yield samples[position : position + sizes[turn % len(sizes)]]
        position += sizes[turn % len(sizes)]
        turn += 1


@settings(max_examples=25)
@given(
    st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000]),
    st.integers(1, 3),
    st.lists(st.integers(1, 4000), min_size=1, max_size=4),
)
def test_chunks_are_the_recording(rate, channels, sizes):
    recording = np.random.default_rng(3).uniform(-1, 1, (9000, channels)).astype(np.float32)
    intake = Intake(rate, channels)
    parts = [intake.convert(chunk) for chunk in in_chunks(recording, sizes)]
    whole = np.concatenate([*parts, intake.flush()])
    np.testing.assert_allclose(whole, load_audio(recording, sampling_rate=rate), atol=1e-6)


def test_int16_is_scaled():
    converted = Intake().convert(np.array([0, 16384, -32768], np.int16))
    assert converted.dtype == np.float32
    assert converted.tolist() == [0.0, 0.5, -1.0]


def test_a_chunk_may_be_written_to_afterwards():
    chunk = np.zeros(4, np.float32)
    converted = Intake().convert(chunk)
    chunk[:] = 1
    assert converted.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((5, 2), np.float32), "wrong shape of a live chunk: expected (n_samples,), found (5, 2)"),
        (np.zeros((5, 1, 1), np.float32), "wrong shape of a live chunk"),
        (np.zeros(5, np.int32), "wrong dtype of a live chunk: expected int16 or floating point, found int32"),
        (np.array([0.0, np.nan], np.float32), "live stream: a sample that is no sound"),
        (np.array([1e300]), "found inf at sample 0 (0.000 s)"),
    ],
)
def test_what_is_no_sound_is_refused(samples, message):
    with pytest.raises(AudioError, match=re.escape(message)):
        Intake().convert(samples)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_that_were_not_scaled_are_refused(dtype, channels):
    intake = Intake(8000, channels)
    chunk = np.full((4000, channels), 100.0, dtype).squeeze()
    intake.convert(chunk)
    chunk[2:] = -101
    for _ in range(2):  # what was refused is not counted
        with pytest.raises(AudioError) as caught:
            intake.convert(chunk)
        assert str(caught.value) == (
            "live stream: a sample that is no sound: expected finite values, about -1 to 1, "
            "found -101.0 at sample 4002 (0.500 s); divide what was int16 by 32768"
        )


@pytest.mark.parametrize("shape", [(0,), (0, 1), (0, 2)])
def test_an_empty_chunk_is_nothing(shape):
    assert Intake(channels=shape[-1] or 1).convert(np.zeros(shape, np.float32)).shape == (0,)


def test_impossible_streams_are_refused():
    with pytest.raises(OptionError, match="sampling_rate: out of range"):
        Intake(100)
    with pytest.raises(OptionError, match="channels: out of range"):
        Intake(16000, 0)


@given(st.lists(st.one_of(st.integers(0, 40), st.none()), max_size=12), st.lists(st.integers(1, 30), max_size=60))
def test_the_inbox_keeps_order_and_marks(pushed, sizes):
    """Against a list: samples are numbers that ascend, a mark is None."""
    inbox, flat, number = Inbox(), [], 0
    for size in pushed:
        if size is None:
            inbox.mark()
            flat.append(None)
        else:
            samples = np.arange(number, number + size, dtype=np.float32)
            inbox.push(samples)
            flat += samples.tolist()
            number += size
    for size in sizes:
        before = flat.index(None) if None in flat else None
        if before == 0:
            assert inbox.take_mark()
            flat.pop(0)
            continue
        assert not inbox.take_mark()
        taken = inbox.take(size)
        expected = size if before is None else min(size, before)
        if expected > len(flat):
            assert taken is None
        else:
            assert taken.tolist() == flat[:expected]
            del flat[:expected]
        assert inbox.n_samples == sum(each is not None for each in flat)
    inbox.clear()
    assert (inbox.take(1), inbox.take_mark(), inbox.n_samples) == (None, False, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-5, 200)), max_size=20))
def test_the_buffer_is_a_part_of_the_stream(steps):
    buffer, number = StreamBuffer(50), 0
    for size, drop in steps:
        samples = np.arange(number, number + size, dtype=np.float32)
        if size > buffer.room:
            with pytest.raises(ValueError, match="no room"):
                buffer.append(samples)
            buffer.drop_before(buffer.end)
        buffer.append(samples)
        number += size
        start = min(max(drop, buffer.start), buffer.end)
        buffer.drop_before(drop)
        assert (buffer.start, buffer.end, len(buffer)) == (start, number, number - start)
        assert buffer.read(0, 1000).tolist() == list(range(start, number))
        assert buffer.read(start + 2, start + 4).tolist() == list(range(start, number))[2:4]
    buffer.skip(7)
    assert (buffer.start, buffer.end, len(buffer)) == (number + 7, number + 7, 0)
