"""Sound in which nobody speaks, made of seeded random numbers: what a recorder hears that was left on.

Each function gives (n_samples,) float64 of -1 to 1 at 16 kHz, the same for the same seed. They are no recordings: a
room has more in it. They have what makes a model invent words: long stretches with a level, a spectrum, onsets or a
tune, and no word.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RATE = 16000

Samples = NDArray[np.float64]


def silence(n_samples: int, rng: np.random.Generator) -> Samples:
    """What a good recorder hears in an empty room: noise below -70 dB, or digital silence."""
    level = rng.choice([0.0, 2e-5, 1e-4, 3e-4])
    quiet: Samples = _coloured(n_samples, rng, slope=0.5) * level
    return quiet


def room(n_samples: int, rng: np.random.Generator) -> Samples:
    """A fan or a street behind a window: coloured noise from -60 to -30 dB that swells and sinks."""
    swell = 1 + 0.6 * np.sin(2 * np.pi * np.arange(n_samples) / RATE / rng.uniform(5, 20))
    level = 10 ** (rng.uniform(-60, -30) / 20)
    noise: Samples = _coloured(n_samples, rng, slope=rng.uniform(0.5, 2.0)) * swell * level
    return noise


def hum(n_samples: int, rng: np.random.Generator) -> Samples:
    """A bad cable: the mains' frequency and its harmonics, over a little noise."""
    base = rng.choice([50.0, 60.0])
    time = np.arange(n_samples) / RATE
    harmonics = [
        rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6)) for k in range(1, 12)
    ]
    level = 10 ** (rng.uniform(-50, -15) / 20)
    tone: Samples = np.sum(harmonics, axis=0) * level + rng.normal(0, level / 30, n_samples)
    return tone


def keyboard(n_samples: int, rng: np.random.Generator) -> Samples:
    """Somebody types: bursts of clicks, each a short damped noise with a resonance, and its release."""
    sound = _coloured(n_samples, rng, slope=1.0) * 1e-3
    position, level = 0.0, 10 ** (rng.uniform(-30, -6) / 20)
    length = RATE // 20
    decay = np.exp(-np.arange(length) / RATE * rng.uniform(80, 300))
    while True:
        position += rng.exponential(0.12) + 0.05 + (rng.exponential(4.0) if rng.random() < 0.08 else 0.0)
        for delay, strength in ((0.0, 1.0), (rng.uniform(0.05, 0.1), 0.4)):
            first = int((position + delay) * RATE)
            if first + length > n_samples:
                return sound
            tone = np.sin(2 * np.pi * rng.uniform(800, 4000) * np.arange(length) / RATE)
            click = (rng.normal(0, 1, length) + tone) * decay
            sound[first : first + length] += click * level * strength * rng.uniform(0.4, 1)


def music(n_samples: int, rng: np.random.Generator) -> Samples:
    """Chords, a tune and a drum in a key and at a pace: notes of eight harmonics with an attack and a decay."""
    sound = np.zeros(n_samples)
    beat = 60 / rng.uniform(70, 140)
    key = 220 * 2 ** (rng.integers(0, 12) / 12)
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    for number in range(int(n_samples / RATE / beat)):
        first = int(number * beat * RATE)
        if number % 4 == 0:
            root = int(rng.integers(0, 7))
            for degree in (root, root + 2, root + 4):
                pitch = scale[degree % 7] + 12 * (degree // 7)
                _add(sound, first, _note(key / 2 * 2 ** (pitch / 12), 4 * beat, rng), 0.3)
        if rng.random() < 0.8:
            _add(sound, first, _note(key * 2 ** (rng.choice(scale) / 12), beat * rng.choice([0.5, 1, 2]), rng), 0.5)
        drum = rng.normal(0, 1, RATE // 8) * np.exp(-np.arange(RATE // 8) / RATE * 40)
        _add(sound, first, drum, 0.2 if number % 2 else 0.05)
    level = 10 ** (rng.uniform(-35, -10) / 20)
    sound *= 3 * level / np.abs(sound).max(initial=1e-9)
    return sound.clip(-1, 1)


KINDS: dict[str, Callable[[int, np.random.Generator], Samples]] = {
    "silence": silence,
    "room": room,
    "hum": hum,
    "keyboard": keyboard,
    "music": music,
}


def _coloured(n_samples: int, rng: np.random.Generator, slope: float) -> NDArray[np.float64]:
    """Noise of deviation 1 whose power falls with the frequency to this power."""
    spectrum = np.fft.rfft(rng.normal(0, 1, n_samples))
    frequencies = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE), 20.0)
    noise: NDArray[np.float64] = np.fft.irfft(spectrum * frequencies ** (-slope / 2), n_samples)
    noise /= noise.std()
    return noise


def _note(frequency: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float64]:
    time = np.arange(int(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * frequency * k * time + rng.uniform(0, 6)) / k**1.5 for k in range(1, 9)]
    envelope = np.minimum(time / 0.02, 1) * np.exp(-time * 2.0 / seconds)
    note: NDArray[np.float64] = np.sum(partials, axis=0) * envelope
    return note


def _add(sound: NDArray[np.float64], first: int, part: NDArray[np.float64], level: float) -> None:
    end = min(first + len(part), len(sound))
    sound[first:end] += part[: end - first] * level
