import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.transcribe.pieces import cut_pieces, windows_of_pieces


def chances(n_frames, *silences):
    values = np.full(n_frames, 0.9, np.float32)
    for start, end in silences:
        values[start:end] = 0.1
    return values


def cut(values, clip, n_windows=1):
    return cut_pieces(lambda start, stop: values[start:stop], clip, 0.35, n_windows)


def test_a_short_clip_is_one_piece():
    assert cut(chances(3000), (0, 3000)) == [(0, 3000)]
    assert cut(chances(3000), (500, 700)) == [(500, 700)]
    assert cut(chances(3000), (700, 700)) == []


def test_a_long_one_is_cut_in_the_longest_silence_of_its_last_five_seconds():
    values = chances(5000, (100, 1900), (2100, 2450), (2600, 2630), (2900, 2925))
    assert cut(values, (0, 5000)) == [(0, 2615), (2615, 5000)]


def test_where_those_hold_a_short_silence_only_it_is_sought_in_ten_seconds():
    values = chances(5000, (100, 1900), (2100, 2150), (2400, 2480), (2900, 2919))
    assert cut(values, (0, 5000)) == [(0, 2440), (2440, 5000)]


def test_without_silence_it_is_cut_where_speech_is_least_likely():
    values = chances(4000)
    values[2345] = 0.5
    assert cut(values, (0, 4000)) == [(0, 2345), (2345, 4000)]


def test_only_what_is_near_a_border_is_listened_to():
    asked = []
    values = chances(9000, *((start, start + 60) for start in range(0, 9000, 400)))

    def listen(start, stop):
        asked.append((start, stop))
        return values[start:stop]

    pieces = cut_pieces(listen, (0, 9000), 0.35)
    assert asked == [(start + 2500, start + 3000) for start, _ in pieces[:-1]]


def test_a_piece_of_two_windows_ends_within_the_second():
    values = chances(9000, (2600, 2700), (5700, 5800), (8700, 8800))
    assert cut(values, (0, 9000), 2) == [(0, 5750), (5750, 9000)]
    assert cut(values, (0, 6000), 2) == [(0, 6000)]


@pytest.mark.parametrize(
    ("n_frames", "n_windows"), [(0, 1), (1, 1), (59_999, 1), (60_000, 2), (90_000, 2), (1_080_000, 2)]
)
def test_pieces_have_two_windows_where_that_makes_ten_at_least(n_frames, n_windows):
    assert windows_of_pieces(n_frames) == n_windows


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 30_000), st.integers(0, 2**32 - 1), st.integers(1, 2), st.data())
def test_pieces_fill_the_clip(n_frames, seed, n_windows, data):
    start = data.draw(st.integers(0, n_frames))
    end = data.draw(st.integers(start, n_frames))
    values = np.repeat(np.random.default_rng(seed).random(n_frames // 50 + 1, dtype=np.float32), 50)[:n_frames]
    pieces = cut(values, (start, end), n_windows)
    borders = [start, *(last for _, last in pieces)]
    assert [first for first, _ in pieces] == borders[:-1]
    assert borders[-1] == end
    sizes = np.diff(borders)
    assert all(0 < size <= 3000 * n_windows for size in sizes)
    assert all(size >= 3000 * n_windows - 1000 for size in sizes[:-1])
