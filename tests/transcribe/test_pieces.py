import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_max.transcribe.pieces import cut_parts


def chances(n_frames, *silences):
    values = np.full(n_frames, 0.9, np.float32)
    for start, end in silences:
        values[start:end] = 0.1
    return values


def parts_of(values, clip):
    return cut_parts(lambda start, stop: values[start:stop], clip, 0.35)


def cut(values, clip):
    return [part.clip for part in parts_of(values, clip)]


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

    *parts, last = cut_parts(listen, (0, 9000), 0.35)
    start, end = last.clip
    assert asked == [*((part.clip[0] + 2500, part.clip[0] + 3000) for part in parts), (max(start, end - 500), end)]


def test_it_is_known_where_somebody_speaks_last_in_a_part():
    values = chances(7000, (2700, 2900), (5500, 5700), (6400, 7000))
    assert [(part.clip, part.speech_end) for part in parts_of(values, (0, 7000))] == [
        ((0, 2800), 2700),
        ((2800, 5600), 5500),
        ((5600, 7000), 5600),  # not in its last five seconds
    ]
    assert [part.speech_end for part in parts_of(values, (6000, 6800))] == [6400]
    assert [part.speech_end for part in parts_of(values, (0, 2000))] == [2000]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 30_000), st.integers(0, 2**32 - 1), st.data())
def test_pieces_fill_the_clip(n_frames, seed, data):
    start = data.draw(st.integers(0, n_frames))
    end = data.draw(st.integers(start, n_frames))
    values = np.repeat(np.random.default_rng(seed).random(n_frames // 50 + 1, dtype=np.float32), 50)[:n_frames]
    pieces = cut(values, (start, end))
    borders = [start, *(last for _, last in pieces)]
    assert [first for first, _ in pieces] == borders[:-1]
    assert borders[-1] == end
    sizes = np.diff(borders)
    assert all(0 < size <= 3000 for size in sizes)
    assert all(size >= 3000 - 1000 for size in sizes[:-1])
