"""The recordings that are sent: cut from real speech, always the same."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_max.audio.io import load_audio

RATE = 16000
LENGTHS = (3, 5, 8, 12, 15, 20, 30, 60)  # seconds
SPEECH_SECONDS = 180  # of speech to cut from
_BLOCK = 60 * RATE  # samples written at a time


@dataclass(frozen=True)
class Clip:
    """A recording of so many seconds, as a file."""

    seconds: float
    audio: bytes


def speech(folder: Path, sample: Path) -> NDArray[np.float32]:
    """A few minutes of speech: English clips of the folder's manifest, or else the sample over and over."""
    paths = [sample]
    if (folder / "manifest.jsonl").is_file():
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        english = [each for each in entries if each.get("language") == "en" and each.get("transcript")]
        paths = [folder / each["path"] for each in english if each["seconds"] <= 30][:30] or paths
    clips = [load_audio(path) for path in paths]
    return np.concatenate(clips * (1 + SPEECH_SECONDS * RATE // sum(map(len, clips))))


def clips_of(samples: NDArray[np.float32], n: int = 24) -> list[Clip]:
    """``n`` recordings of all lengths in turn."""
    rng = random.Random(1)
    clips = []
    for i in range(n):
        seconds = LENGTHS[i % len(LENGTHS)]
        start = rng.randrange(len(samples) - seconds * RATE)
        clips.append(Clip(float(seconds), as_wav(samples[start : start + seconds * RATE])))
    return clips


def as_wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def long_recording(samples: NDArray[np.float32], seconds: float, path: Path) -> None:
    """The speech over and over, at about 34 kbit/s (Ogg Vorbis)."""
    left = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, format="OGG", subtype="VORBIS") as file:
        while left > 0:
            for start in range(0, min(len(samples), left), _BLOCK):
                file.write(samples[start : min(start + _BLOCK, left)])
            left -= len(samples)
