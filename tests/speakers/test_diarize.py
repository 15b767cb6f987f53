"""Recordings of tones, one a speaker, heard by networks that tell them apart by their pitch."""

from __future__ import annotations

import numpy as np
import pytest

from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.model.speakers.shapes import CLASSES, EMBEDDING, FIELD_SAMPLES, FRAME_SAMPLES, N_CLASSES, N_FRAMES
from whisper_max.speakers.diarize import TOGETHER, diarize
from whisper_max.transcribe.speakers import SpeakerCount

PITCHES = (300, 1000, 3000)


class Ears:
    """Hears whose tone is loudest in each frame; local speakers of a window are numbered as they come in it."""

    def __init__(self):
        self.batches = []

    def segment(self, windows):
        self.batches.append(len(windows))
        logits = np.full((len(windows), N_FRAMES, N_CLASSES), -9.0, np.float32)
        for window, row in zip(windows, logits, strict=True):
            locals_: dict[int, int] = {}
            for frame in range(N_FRAMES):
                middle = frame * FRAME_SAMPLES + FIELD_SAMPLES // 2
                part = window[middle - 135 : middle + 135]
                pitch = self._pitch(part)
                who = () if pitch is None else (locals_.setdefault(pitch, len(locals_)),)
                row[frame, CLASSES.index(who)] = 9
        return logits

    @staticmethod
    def _pitch(part):
        if np.abs(part).max() < 0.05:
            return None
        crossings = np.count_nonzero(np.diff(part > 0)) / len(part) * 8000
        return int(np.argmin([abs(crossings - pitch) for pitch in PITCHES]))

    def embed(self, voices):
        """By the bin that varies most with the loudness."""
        smooth = [voice.reshape(-1, 10, voice.shape[1]).mean(axis=1) for voice in voices]
        loudest = [int(np.argmax(each.std(axis=0))) // 20 for each in smooth]  # in which quarter of the bins
        vectors = np.zeros((len(voices), EMBEDDING), np.float32)
        vectors[range(len(voices)), loudest] = 1
        return vectors


def tones(*turns):
    """A recording; a turn is a speaker, or None for silence, and its seconds."""
    parts = []
    for who, seconds in turns:
        times = np.arange(int(seconds * 16000)) / 16000
        loudness = 0.3 + 0.2 * np.sin(2 * np.pi * times)
        parts.append(loudness * np.sin(2 * np.pi * PITCHES[who] * times) if who is not None else 0 * times)
    sound = np.concatenate(parts)
    noise = np.random.default_rng(0).normal(0, 0.003, len(sound))  # beside which only the tone's loudness varies
    return ArrayWaveform((sound + noise).astype(np.float32))


def found_in(waveform, least=1, most=None):
    result = diarize(waveform, SpeakerCount(least, most), Ears())
    return [(round(turn.start, 1), round(turn.end, 1), turn.speaker) for turn in result.turns], result.warnings


def test_turns_of_a_conversation():
    turns, warnings = found_in(tones((0, 4), (None, 1), (1, 5), (2, 6), (0, 8), (None, 2), (1, 4)))
    (a, b, c, again, last) = turns
    assert [turn[:2] for turn in turns] == [(0.0, 4.0), (5.0, 10.0), (10.0, 16.0), (16.0, 24.0), (26.0, 30.0)]
    assert again[2] == a[2]
    assert last[2] == b[2]
    assert len({a[2], b[2], c[2]}) == 3
    assert not warnings


def test_one_speaker():
    turns, warnings = found_in(tones((0, 12)))
    assert turns == [(0.0, 12.0, 0)]
    assert not warnings


@pytest.mark.parametrize("seconds", [0, 0.01, 0.3, 11])
def test_silence_has_no_turns_and_says_so(seconds):
    turns, (warning,) = found_in(tones((None, seconds)))
    assert turns == []
    assert warning.kind == "no_speakers"


def test_a_moment_of_speech_is_too_little_to_know_a_voice_by():
    turns, (warning,) = found_in(tones((0, 0.3)))
    assert turns == []
    assert "half a second" in warning.message


def test_more_speakers_asked_for_than_there_are():
    turns, (warning,) = found_in(tones((0, 3), (None, 1), (1, 3)), 4, 4)
    assert len({speaker for *_, speaker in turns}) == 2
    assert warning.message == "found 2 speakers where 4 were asked for"


def test_windows_and_voices_are_heard_together_and_progress_is_told():
    ears, told = Ears(), []
    waveform = tones(*[(number % 2, 6) for number in range(20)])
    result = diarize(waveform, SpeakerCount(), ears, lambda done, total: told.append((done, total)))
    assert max(ears.batches) <= TOGETHER
    assert sum(ears.batches) == 24
    assert told[-1] == (120.0, 120.0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({turn.speaker for turn in result.turns}) == 2
