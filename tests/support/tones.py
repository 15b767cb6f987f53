"""Recordings of tones, one a speaker, and networks that tell them apart by their pitch."""

from __future__ import annotations

import numpy as np

from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.model.speakers.shapes import (
    CLASSES,
    EMBEDDING,
    FIELD_SAMPLES,
    FRAME_SAMPLES,
    N_CLASSES,
    N_FRAMES,
    WINDOW_SAMPLES,
)

PITCHES = (300, 1000, 3000)


class Ears:
    """Hears whose tone is loudest in each frame; local speakers of a window are numbered as they come in it."""

    name = "ears"

    def __init__(self):
        self.batches = []

    def segment(self, sound, starts):
        self.batches.append(len(starts))
        windows = [sound[start * FRAME_SAMPLES :][:WINDOW_SAMPLES] for start in starts]
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
        vectors[:, -1] = 0.1 + 0.1 * np.array(loudest)  # no two pairs are equally unlike
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


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
