"""Conversations whose turns are known, of recorded readers cut and joined by a seeded rule, for ``diarization.py``.

Where a reader speaks is what Silero's detector says of the reader's own recording, before anything is joined or mixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.io import open_audio
from whisper_max.audio.vad import find_speech
from whisper_max.audio.vad_options import VadOptions
from whisper_max.audio.waveform import SAMPLE_RATE, ArrayWaveform

Float32 = NDArray[np.float32]
Turn = tuple[float, float, str]
"""Start, end and speaker."""
READERS = {
    **{number: f"librispeech_test-other/{number}-*.flac" for number in ("1688", "1998", "2033", "2414", "2609")},
    "lj": "lj001_chapter.flac",
    "aeneas_de": "longform/aeneas_de.mp3",
    "aeneas_es": "longform/aeneas_es.mp3",
}
MOST_SECONDS = 300  # of a reader
SPEECH = VadOptions(min_silence_duration_ms=250, speech_pad_ms=30)  # a pause of 250 ms ends a turn, as in VoxConverse
LOUDNESS = 0.06  # root mean square of a reader's speech
NOISE_DB = -55.0
OVERLAPPED = 0.45  # share of turns that begin before the one before them ends: two speak at once in 9 % of speech
FADE = 160  # samples


class Voice(NamedTuple):
    """All that a reader says. sound: (n_samples,); spoken: where there is speech, (n_samples,)."""

    sound: Float32
    spoken: NDArray[np.bool_]


class Conversation(NamedTuple):
    """A conversation. sound: (n_samples,), 16 kHz; turns: in order."""

    name: str
    sound: Float32
    turns: list[Turn]


def conversations(
    audio: Path, speakers: list[int], each: int, seconds: float = 120.0, seed: int = 1
) -> Iterator[Conversation]:
    """Conversations of so many speakers, so many of each; the same arguments make the same.

    Args:
        audio: the folder with the recordings of ``READERS``.
        speakers: numbers of speakers.
        each: conversations of each number.
        seconds: about how long each is.
        seed: of all of them.
    """
    voices = {name: _read_voice(audio, pattern) for name, pattern in READERS.items()}
    for n_speakers in speakers:
        for number in range(each):
            random = np.random.default_rng([seed, n_speakers, number])
            names = [str(name) for name in random.choice(sorted(voices), n_speakers, replace=False)]
            sound, turns = _converse({name: voices[name] for name in names}, seconds, random)
            yield Conversation(f"{n_speakers}_speakers_{number:02d}", sound, turns)


def _read_voice(audio: Path, pattern: str) -> Voice:
    """All that a reader says, as loud as every other reader."""
    parts = []
    for path in sorted(audio.glob(pattern)):
        with open_audio(path) as waveform:
            parts.append(np.array(waveform.read(0, min(waveform.n_samples, MOST_SECONDS * SAMPLE_RATE))))
    if not parts:
        raise SystemExit(f"{audio}: nothing there for {pattern}")
    sound = np.concatenate(parts)
    spoken = np.zeros(len(sound), bool)
    for start, stop in find_speech(ArrayWaveform(sound), SPEECH):
        spoken[start:stop] = True
    gain = LOUDNESS / np.sqrt(np.mean(np.square(sound[spoken])))
    return Voice(np.asarray(sound * gain, np.float32), spoken)


def _converse(voices: dict[str, Voice], seconds: float, random: np.random.Generator) -> tuple[Float32, list[Turn]]:
    """Turns of 1 to 9 s, one voice after the other, some beginning before the last one ends."""
    sound = np.zeros(int((seconds + 30) * SAMPLE_RATE), np.float32)
    turns: list[Turn] = []
    end, last = 0, ""
    while end < seconds * SAMPLE_RATE:
        last = str(random.choice([name for name in voices if name != last]))
        said, spans = _cut(voices[last], random)
        overlaps = end and random.random() < OVERLAPPED
        gap = random.uniform(-2.0, -0.3) if overlaps else random.uniform(0.1, 1.5)
        start = max(0, end + int(gap * SAMPLE_RATE))
        sound[start : start + len(said)] += said
        turns += [((start + first) / SAMPLE_RATE, (start + stop) / SAMPLE_RATE, last) for first, stop in spans]
        end = max(end, start + len(said))
    noise = random.normal(0, 10 ** (NOISE_DB / 20), end).astype(np.float32)
    return np.clip(sound[:end] + noise, -1, 1), sorted(turns)


def _cut(voice: Voice, random: np.random.Generator) -> tuple[Float32, list[tuple[int, int]]]:
    """A stretch of a voice that begins and ends with speech, and where in it there is speech, in samples."""
    length = int(random.uniform(1.0, 9.0) * SAMPLE_RATE)
    spoken = np.zeros(0, np.int8)
    while not spoken.any():  # a pause of the reader's
        first = int(random.integers(0, max(1, len(voice.sound) - length)))
        spoken = voice.spoken[first : first + length].astype(np.int8)
    inside = np.flatnonzero(spoken)
    first, spoken = first + inside[0], spoken[inside[0] : inside[-1] + 1]
    edges = np.flatnonzero(np.diff(spoken, prepend=0, append=0))
    said = voice.sound[first : first + len(spoken)]
    fade = np.minimum(1, np.arange(len(said)) / FADE).astype(np.float32)
    spans = [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    return said * fade * fade[::-1], spans
