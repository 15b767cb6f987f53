"""Speakers of a stream, found while it goes on, beside those of the whole recording."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.support.tones import Ears, tones
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.model.speakers.shapes import WINDOW_SAMPLES
from whisper_max.speakers import clustering
from whisper_max.speakers import online as module
from whisper_max.speakers.diarize import diarize
from whisper_max.speakers.online import OnlineSpeakers
from whisper_max.transcribe.speakers import SpeakerCount
from whisper_max.transcribe.turns import Turns

TALK = [(0, 4), (None, 1), (1, 5), (2, 6), (0, 8), (None, 2), (1, 4)]


def online(waveform, *, size=8000, count=SpeakerCount()):  # noqa: B008 - a value that nobody changes
    """The speakers, and how many there were after each piece."""
    speakers = OnlineSpeakers(count, Ears())
    samples = waveform.read(0, waveform.n_samples)
    found = []
    for start in range(0, len(samples), size):
        speakers.push(samples[start : start + size])
        found.append(len({turn.speaker for turn in speakers.turns()}))
    return speakers, found


@pytest.mark.parametrize("seconds", [0, 0.01, 0.3, 9.99, 10, 10.01, 15.1, 30])
@pytest.mark.parametrize(("size", "count"), [(8000, SpeakerCount()), (48001, SpeakerCount(1, 2))])
def test_in_the_end_they_are_those_of_the_recording(seconds, size, count):
    waveform = ArrayWaveform(tones(*TALK).read(0, round(seconds * 16000)))
    speakers, _ = online(waveform, size=size, count=count)
    assert speakers.turns(final=True) == diarize(waveform, count, Ears()).turns


def test_a_speaker_is_known_within_seconds():
    _, found = online(tones(*TALK))
    assert found == sorted(found)
    assert found[1] == 1  # after a second
    assert found[2 * 7 + 1] == 2  # who has spoken for two
    assert found[2 * 18 + 1] == 3


def test_many_voices_are_compared_again_only_as_they_grow(monkeypatch):
    monkeypatch.setattr(module, "_FEW", 4)
    compared = []

    def all_of_one(voices, *_):
        compared.append(len(voices.vectors))
        return np.zeros(len(voices.vectors), np.intp)

    monkeypatch.setattr(clustering, "speakers_of", all_of_one)
    online(tones((0, 300)), size=5 * 16000)
    assert len(compared) < 40
    assert all(after >= before * 1.05 for before, after in pairwise(compared[4:]))


def test_each_window_is_heard_once_and_the_last_one_each_time():
    ears = Ears()
    speakers = OnlineSpeakers(SpeakerCount(), ears)
    samples = tones((0, 40)).read(0, 40 * 16000)
    speakers.push(samples)
    assert len(ears.batches) == 7  # of 10 s, one every 5
    speakers.turns()
    speakers.turns()  # nothing new
    speakers.push(samples[:8000])
    speakers.turns()
    assert len(ears.batches) == 9
    assert len(speakers._samples) <= 2 * WINDOW_SAMPLES


def test_long_streams_are_looked_at_less_often():
    speakers = OnlineSpeakers(SpeakerCount(), Ears())
    speakers.push(tones((0, 20)).read(0, 20 * 16000))
    speakers._windows *= 960  # as after four hours
    before = speakers._n_told
    speakers.turns()
    assert speakers._n_told > before
    told = speakers._n_told
    speakers._samples = np.concatenate([speakers._samples, np.zeros(3 * 16000, np.float32)])
    speakers.turns()
    assert speakers._n_told == told
    speakers._samples = np.concatenate([speakers._samples, np.zeros(16000, np.float32)])
    speakers.turns()
    assert speakers._n_told == told + 4 * 16000


def test_turns_are_timed_in_the_stream_of_which_a_part_was_not_heard():
    speakers = OnlineSpeakers(SpeakerCount(), Ears(), position=160_000)
    speakers.push(tones((0, 4)).read(0, 4 * 16000))
    (turn,) = speakers.turns()
    assert (round(turn.start, 1), round(turn.end, 1)) == (10.0, 14.0)


def test_labels_are_numbered_as_speakers_appear():
    speakers, _ = online(tones((2, 4), (0, 4), (2, 3)))
    names = Turns(speakers.turns()).names_of([(0.5, 1.0), (5.0, 6.0), (9.0, 10.0)])
    assert names == ["Speaker 1", "Speaker 2", "Speaker 1"]
