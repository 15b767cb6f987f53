from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from whisper_max.model.speakers.shapes import CLASSES, FRAME_SAMPLES, N_CLASSES, N_FRAMES, N_LOCAL, WINDOW_SAMPLES
from whisper_max.speakers.timeline import likelihoods, spans
from whisper_max.speakers.windows import STEP_FRAMES, Heard, heard, runs, seconds_at, starts


def window(start, *active):
    """A window in which local speakers speak in these ranges of frames on the grid."""
    flags = np.zeros((N_FRAMES, N_LOCAL), np.uint8)
    for local, ranges in enumerate(active):
        for first, last in ranges:
            flags[max(0, first - start) : max(0, last - start), local] = 255
    return Heard(start, flags, flags > 0)


@pytest.mark.parametrize("seconds", [0.1, 9.9, 10, 10.01, 14.99, 15, 61.7])
def test_windows_cover_a_recording(seconds):
    n_samples = int(seconds * 16000)
    found = list(starts(n_samples))
    assert found[0] == 0
    assert found == sorted(set(found))
    assert all(after - before <= STEP_FRAMES for before, after in pairwise(found))
    assert found[-1] * FRAME_SAMPLES + WINDOW_SAMPLES >= n_samples
    assert found[-1] * FRAME_SAMPLES < n_samples


def test_nothing_has_no_windows():
    assert list(starts(0)) == []


def test_what_classes_say():
    logits = np.full((N_FRAMES, N_CLASSES), -20.0, np.float32)
    logits[:, 0] = 0
    logits[100, CLASSES.index((1,))] = 20
    logits[200, CLASSES.index((0, 2))] = 20
    result = heard(7, logits)
    assert result.start == 7
    assert result.active[100].tolist() == [0, 255, 0]
    assert result.active[200].tolist() == [255, 0, 255]
    assert np.argwhere(result.alone).tolist() == [[100, 1]]


def test_runs():
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.zeros(3, bool)) == []


def test_turns_run_through_windows_and_may_overlap():
    first = window(0, [(50, 500)], [(400, N_FRAMES)])
    second = window(STEP_FRAMES, [(400, 700)], [(300, 500)])
    speakers = {(0, 0): 1, (0, 1): 0, (1, 0): 0, (1, 1): 1}
    found = spans([first, second], speakers, 2, 100.0)
    assert found == [(seconds_at(50), seconds_at(500), 1), (seconds_at(400), seconds_at(700), 0)]


def test_short_gaps_are_closed_and_short_turns_left_out():
    gaps = window(0, [(10, 100), (105, 200), (300, 303), (400, 450)])
    found = spans([gaps], {(0, 0): 0}, 1, 100.0)
    assert [(round(start, 2), round(end, 2)) for start, end, _ in found] == [
        (round(seconds_at(10), 2), round(seconds_at(200), 2)),
        (round(seconds_at(400), 2), round(seconds_at(450), 2)),
    ]


def test_turns_end_with_the_recording():
    (turn,) = spans([window(0, [(0, N_FRAMES)])], {(0, 0): 0}, 1, 0.3)
    assert turn == (seconds_at(0), 0.3, 0)


def test_speakers_that_nothing_is_known_of_are_left_out():
    assert spans([window(0, [(0, 100)], [(200, 300)])], {(0, 1): 0}, 1, 10.0) == [(seconds_at(200), seconds_at(300), 0)]


def test_likelihoods_come_in_stretches_that_follow_each_other():
    windows = [window(start, [(0, 5000)]) for start in (0, STEP_FRAMES, 2 * STEP_FRAMES, 2 * STEP_FRAMES + 10)]
    speakers = {(number, 0): 0 for number in range(4)}
    at = 0
    for start, values in likelihoods(windows, speakers, 1):
        assert start == at
        np.testing.assert_allclose(values, 1, rtol=1e-5)
        at += len(values)
    assert at == 2 * STEP_FRAMES + 10 + N_FRAMES
