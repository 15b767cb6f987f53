"""Show that memory stays flat however long a recording is: ``python scripts/memory_over_time.py``.

Writes a recording of some hours of noise with pauses, transcribes it, samples the memory of this process meanwhile, and
draws it to docs/figures. By default the model is the tests' stand-in, which decodes in no time, so that what is
measured is all that surrounds a model: reading, spectrogram, seek, prompts, journal. With ``--model`` it is a real one,
at that model's speed. Needs the dependency group ``benchmark``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import psutil
import soundfile

from whisper_max.api import Model, load_model
from whisper_max.audio.waveform import SAMPLE_RATE

REPOSITORY = Path(__file__).resolve().parents[1]
WARM_UP = 0.1  # of the recording: until then caches fill
INTERVAL = 0.2  # seconds between samples
MIB = 1 << 20


def write_recording(path: Path, hours: float) -> None:
    """Noise in bursts of 1 to 4 s with pauses between, 16 kHz, 16 bits."""
    rng = np.random.default_rng(0)
    left = round(hours * 3600 * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            burst = rng.standard_normal(rng.integers(SAMPLE_RATE, 4 * SAMPLE_RATE)) * 0.1
            piece = np.concatenate([burst, np.zeros(rng.integers(0, SAMPLE_RATE))])[:left]
            file.write(piece)
            left -= len(piece)


def stand_in() -> Model:
    """The tests' model without weights, with as many mel bins as base."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "decode"))
    from fake_inference import DIMS, FakeInference
    from synthetic_vocabulary import synthetic_vocabulary

    return Model(FakeInference(dataclasses.replace(DIMS, n_mels=80)), synthetic_vocabulary())


class Sampler:
    """Samples this process's resident memory in a thread of its own."""

    def __init__(self) -> None:
        self.hours = 0.0  # of audio done
        self.samples: list[tuple[float, float]] = []  # hours of audio done, MiB
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(INTERVAL):
            self.samples.append((self.hours, self._process.memory_info().rss / MIB))


def draw(samples: list[tuple[float, float]], title: str, path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    hours, memory = zip(*samples, strict=True)
    figure, axes = pyplot.subplots(figsize=(8, 3.5), dpi=100, layout="constrained")
    axes.plot(hours, memory, linewidth=1)
    axes.set(title=title, xlabel="hours of audio done", ylabel="resident memory, MiB", ylim=(0, max(memory) * 1.2))
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=3.0, help="length of the recording")
    parser.add_argument("--model", help="a real model, in place of the stand-in")
    args = parser.parse_args()
    model = load_model(args.model) if args.model else stand_in()
    name = args.model or "stand-in"
    sampler = Sampler()

    def advance(done: float, _total: float) -> None:
        sampler.hours = done / 3600

    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.wav"
        write_recording(recording, args.hours)
        start = time.monotonic()
        with sampler:
            result = model.transcribe(
                recording, language="en", temperature=0.0, journal=Path(folder) / "journal.jsonl", on_progress=advance
            )
        seconds = time.monotonic() - start
    warm = [memory for hours, memory in sampler.samples if hours >= WARM_UP * args.hours]
    print(f"{name}: {result.duration / 3600:.2f} h of audio in {seconds:.0f} s, {len(result.segments)} segments")
    print(f"memory after the first {WARM_UP:.0%}: {min(warm):.0f} to {max(warm):.0f} MiB")
    path = REPOSITORY / "docs" / "figures" / f"memory_{name.replace('/', '_')}.png"
    draw(sampler.samples, f"Memory over {args.hours:g} hours of audio ({name})", path)
    print(f"wrote {path.relative_to(REPOSITORY)}, {path.stat().st_size / 1024:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
