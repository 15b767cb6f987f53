"""Make conversations whose turns are known, of recorded readers: ``python scripts/bench/conversations.py AUDIO OUT``.

AUDIO is a folder with the corpus of ``READERS``; OUT gets ``NAME.wav`` (16 kHz, mono) and ``NAME.json`` for each: a
list of turns [start, end, speaker], in seconds. The same seed makes the same conversations.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from whisper_max.audio.io import open_audio

Float32 = NDArray[np.float32]
RATE = 16000
READERS = {
    **{number: f"librispeech_test-other/{number}-*.flac" for number in ("1688", "1998", "2033", "2414", "2609")},
    "lj": "lj001_chapter.flac",
    "aeneas_de": "longform/aeneas_de.mp3",
    "aeneas_es": "longform/aeneas_es.mp3",
}
FRAME = 160  # samples: 10 ms
SILENCE_DB = -35.0  # below a reader's loud frames
PAUSE = 0.4  # seconds of silence that end a turn's truth
LOUDNESS = 0.06  # root mean square of a reader's speech
OVERLAPPED = 0.35  # share of turns that begin before the one before them ends


def main() -> int:
    """Write the conversations."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--speakers", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    voices = {name: read_voice(args.audio, pattern) for name, pattern in READERS.items()}
    for n_speakers in args.speakers:
        for number in range(args.each):
            random = np.random.default_rng([args.seed, n_speakers, number])
            names = [str(name) for name in random.choice(sorted(voices), n_speakers, replace=False)]
            sound, turns = converse({name: voices[name] for name in names}, args.seconds, random)
            path = args.out / f"{n_speakers}_speakers_{number:02d}.wav"
            soundfile.write(path, sound, RATE)
            path.with_suffix(".json").write_text(json.dumps(turns))
    return 0


def read_voice(audio: Path, pattern: str) -> Float32:
    """All that a reader says, at the same loudness for every reader."""
    parts = []
    for path in sorted(audio.glob(pattern)):
        with open_audio(path) as waveform:
            parts.append(np.array(waveform.read(0, min(waveform.n_samples, 300 * RATE))))
    if not parts:
        raise SystemExit(f"{audio}: nothing there for {pattern}")
    sound = np.concatenate(parts)
    sound = sound[: len(sound) // FRAME * FRAME]
    loud = sound[np.repeat(speaks(sound), FRAME)]
    gain = LOUDNESS / np.sqrt(np.mean(np.square(loud)))
    return np.asarray(sound * gain, np.float32)


def speaks(sound: Float32) -> NDArray[np.bool_]:
    """Which frames are loud enough to be speech, (n_samples // FRAME,), padded to the sound's length by the caller."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    level = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-10)
    return np.asarray(level > np.percentile(level, 95) + SILENCE_DB)


def converse(
    voices: dict[str, Float32], seconds: float, random: np.random.Generator
) -> tuple[Float32, list[list[float | str]]]:
    """Turns of 1 to 9 s, one voice after the other, some beginning before the last one ends."""
    sound = np.zeros(int((seconds + 30) * RATE), np.float32)
    turns: list[list[float | str]] = []
    end, last = 0, ""
    while end < seconds * RATE:
        waiting = [name for name in voices if name != last]
        last = str(random.choice(waiting))
        said, heard = cut(voices[last], random)
        gap = random.uniform(-2.0, -0.3) if end and random.random() < OVERLAPPED else random.uniform(0.1, 1.5)
        start = max(0, end + int(gap * RATE)) // FRAME * FRAME
        sound[start : start + len(said)] += said
        turns += [[start / RATE + first, start / RATE + stop, last] for first, stop in heard]
        end = max(end, start + len(said))
    noise = random.normal(0, 10 ** (-55 / 20), end).astype(np.float32)
    return np.clip(sound[:end] + noise, -1, 1), sorted(turns)


def cut(voice: Float32, random: np.random.Generator) -> tuple[Float32, list[tuple[float, float]]]:
    """A stretch of a voice that begins and ends with speech, and where in it there is speech, in seconds."""
    length = int(random.uniform(1.0, 9.0) * RATE)
    first = int(random.integers(0, max(1, len(voice) - length)))
    said = voice[first : first + length]
    loud = np.flatnonzero(speaks(said))
    said = said[loud[0] * FRAME : (loud[-1] + 1) * FRAME]
    loud = loud - loud[0]
    breaks = np.flatnonzero(np.diff(loud) * FRAME > PAUSE * RATE)
    starts, stops = np.r_[loud[0], loud[breaks + 1]], np.r_[loud[breaks], loud[-1]] + 1
    fade = np.minimum(1, np.arange(len(said)) / FRAME).astype(np.float32)
    return said * fade * fade[::-1], [(a * FRAME / RATE, b * FRAME / RATE) for a, b in zip(starts, stops, strict=True)]


if __name__ == "__main__":
    raise SystemExit(main())
