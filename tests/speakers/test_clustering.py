from __future__ import annotations

import numpy as np
import pytest

from whisper_max.speakers import clustering
from whisper_max.speakers.clustering import Voices, speakers_of


def voices(labels, *, seconds=3.0, alone=3.0, noise=0.05, windows=None, seed=0):
    """Voices of speakers that are at right angles to each other."""
    random = np.random.default_rng(seed)
    vectors = np.eye(192)[labels] + random.normal(0, noise, (len(labels), 192))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of_window = np.arange(len(labels)) if windows is None else np.array(windows)
    heard, spoken = (np.broadcast_to(np.float32(each), len(labels)) for each in (seconds, alone))
    return Voices(vectors.astype(np.float32), heard, spoken, of_window)


def same_partition(found, expected):
    pairs = set(zip(found.tolist(), list(expected), strict=True))
    return len(pairs) == len(set(found.tolist())) == len(set(expected))


@pytest.mark.parametrize("n_speakers", [1, 2, 3, 5, 9])
def test_the_number_of_speakers_is_found(n_speakers):
    labels = [number % n_speakers for number in range(6 * n_speakers)]
    assert same_partition(speakers_of(voices(labels), 1, None), labels)


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (1, 3, 3), (6, 8, 6)])
def test_a_given_number_is_kept(least, most, expected):
    labels = [number % 5 for number in range(40)]
    assert len(set(speakers_of(voices(labels, noise=0.03), least, most).tolist())) == expected


def test_no_cut_has_the_number_that_is_given():
    """All merges are equally far."""
    heard = voices([0, 1, 2, 3], noise=0)
    assert len(set(speakers_of(heard, 3, 3).tolist())) <= 3
    assert len(set(speakers_of(heard, 1, 2).tolist())) <= 2


def test_no_more_speakers_than_voices():
    assert len(set(speakers_of(voices([0, 1]), 5, 5).tolist())) == 2
    assert speakers_of(voices([0]), 3, 4).tolist() == [0]


def test_who_speaks_for_a_moment_only_is_no_speaker_of_their_own():
    labels = [0] * 6 + [1] * 6 + [2]
    seconds = [3.0] * 12 + [0.5]
    assert len(set(speakers_of(voices(labels, seconds=seconds, alone=seconds), 1, None).tolist())) == 2
    assert len(set(speakers_of(voices(labels, seconds=seconds, alone=seconds), 3, 3).tolist())) == 3


@pytest.mark.parametrize(("between", "expected"), [(0.0, 3), (0.33, 2)])
@pytest.mark.parametrize("block", [2000, 5])
def test_who_speaks_once_for_long_is_a_speaker_unless_much_like_another(between, expected, block, monkeypatch):
    monkeypatch.setattr(clustering, "BLOCK", block)
    labels = [0] * 6 + [1] * 6 + [2]
    heard = voices(labels, seconds=[3.0] * 12 + [1.5], alone=8.0, noise=0.01)
    heard.vectors[12] += between * heard.vectors[0]
    heard.vectors[12] /= np.linalg.norm(heard.vectors[12])
    found = speakers_of(heard, 1, None)
    assert len(set(found.tolist())) == expected
    assert (found[12] == found[0]) == (expected == 2)


@pytest.mark.parametrize(("likeness", "expected"), [(0.32, 2), (0.36, 1)])
def test_a_voice_that_changes_is_one_speaker_unless_both_ways_are_far_apart(likeness, expected):
    heard = voices([0] * 4 + [1] * 4, noise=0)
    heard.vectors[4:] = likeness * heard.vectors[0] + (1 - likeness**2) ** 0.5 * heard.vectors[4]
    assert len(set(speakers_of(heard, 1, None).tolist())) == expected


def test_voices_of_one_window_are_different_speakers():
    labels, windows = [0, 1] * 6, [number // 2 for number in range(12)]
    heard = voices([*labels, 0, 0], windows=[*windows, 6, 6], noise=0.02)
    found = speakers_of(heard, 1, None)
    assert found[12] != found[13]


def test_who_is_heard_longer_is_whom_they_are_most_like():
    labels, windows = [0, 1] * 6, [number // 2 for number in range(12)]
    heard = voices([*labels, 0, 0], windows=[*windows, 6, 6], noise=0.02)
    heard.vectors[13, 1] += 0.01  # the longer one is a little less like speaker 0
    seconds = np.array([3.0] * 12 + [0.5, 3.0], np.float32)
    found = speakers_of(Voices(heard.vectors, seconds, seconds, heard.windows), 1, None)
    assert found[13] == found[0]
    assert found[12] == found[1]


def test_more_voices_in_a_window_than_speakers():
    found = speakers_of(voices([0, 1, 2, 0, 1, 2], windows=[0, 0, 0, 1, 1, 1]), 1, 2)
    assert len(found) == 6
    assert set(found.tolist()) <= {0, 1}


def test_many_voices_are_clustered_in_two_rounds(monkeypatch):
    labels = [number * 7 % 4 for number in range(200)]
    whole = speakers_of(voices(labels), 1, None)
    monkeypatch.setattr(clustering, "BLOCK", 32)
    assert same_partition(speakers_of(voices(labels), 1, None), labels)
    assert same_partition(whole, labels)
