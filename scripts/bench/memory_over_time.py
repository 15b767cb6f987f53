"""Show that memory stays flat however long a recording is.

    python scripts/bench/memory_over_time.py
    python scripts/bench/memory_over_time.py --model tiny.en --compute_type int8 --audio RECORDINGS

Makes a recording of some hours, transcribes it, samples the memory of this process meanwhile, and draws it to
docs/measured (png and svg), beside the samples (csv). Without ``--model`` it is the tests' stand-in (minutes), which
decodes in no time, so that what is measured is all that surrounds a model: reading, spectrogram, seek, prompts,
journal. The recording is noise with pauses, or with ``--audio`` the recordings of a folder, one after the other, in
another order each time. A run that was cut off goes on from its journal when started again. Needs the dependency group
``benchmark``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

try:
    import matplotlib as mpl
    import psutil
except ImportError as error:
    raise SystemExit(f"{error}: pip install --group benchmark") from None

from whisper_max.api import Model
from whisper_max.audio.io import load_audio
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.commands.inputs import find_recordings
from whisper_max.errors import AudioError
from whisper_max.load import load_model

REPOSITORY = Path(__file__).resolve().parents[2]
WARM_UP = 0.1  # of the recording: until then caches fill
MIB = 1 << 20
COLUMNS = ("run", "seconds", "hours of audio done", "resident MiB")


def noise() -> Iterator[np.ndarray]:
    """Bursts of 1 to 4 s with pauses between."""
    rng = np.random.default_rng(0)
    while True:
        yield rng.standard_normal(rng.integers(SAMPLE_RATE, 4 * SAMPLE_RATE)) * 0.1
        yield np.zeros(rng.integers(0, SAMPLE_RATE))


def speech(folder: str) -> Iterator[np.ndarray]:
    """The recordings of a folder with pauses between, in another order each time; what is no audio is left out."""
    rng = np.random.default_rng(0)
    found, errors = find_recordings([folder], ".", ["csv"])
    if errors:
        raise errors[0]
    paths = [recording.source for recording in found]
    while paths:
        for path in rng.permutation(np.array(paths, object)):
            try:
                yield load_audio(path)
            except AudioError as error:
                print(f"left out: {error}", file=sys.stderr)
                paths.remove(path)
            yield np.zeros(rng.integers(SAMPLE_RATE // 4, 2 * SAMPLE_RATE))
    raise AudioError("no recording can be read", where=folder)


def write_recording(path: Path, hours: float, pieces: Iterator[np.ndarray]) -> None:
    """Pieces one after the other, 16 kHz, 16 bits; nothing is done where it is there already."""
    n_samples = round(hours * 3600 * SAMPLE_RATE)
    if path.exists() and soundfile.info(path).frames == n_samples:
        return
    left = n_samples
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        while left > 0:
            piece = next(pieces)[:left]
            file.write(piece)
            left -= len(piece)


def stand_in() -> Model:
    """The tests' model without weights, with as many mel bins as base."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.support.fake_inference import DIMS, FakeInference
    from tests.support.synthetic_vocabulary import synthetic_vocabulary

    return Model(FakeInference(dataclasses.replace(DIMS, n_mels=80)), synthetic_vocabulary())


class Sampler:
    """Samples this process's resident memory in a thread of its own, and adds it to a csv file at once."""

    def __init__(self, path: Path, interval: float, resume: bool) -> None:
        self.hours = 0.0  # of audio done
        self.run = 1 + max((int(row[0]) for row in read_samples(path)), default=0) if resume else 1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if resume else "w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        if not resume:
            self._csv.writerow(COLUMNS)
        self._interval = interval
        self._process = psutil.Process()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._file.close()

    def _sample(self) -> None:
        start = time.monotonic()
        while not self._end.wait(self._interval):
            memory = self._process.memory_info().rss / MIB
            self._csv.writerow((self.run, f"{time.monotonic() - start:.1f}", f"{self.hours:.4f}", f"{memory:.1f}"))
            self._file.flush()


def read_samples(path: Path) -> list[list[str]]:
    """The rows of a csv file of samples, without its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def draw(rows: list[list[str]], title: str, path: Path) -> None:
    """A line for each run, as png and as svg."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "memory"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.5), dpi=100, layout="constrained")
    for run in sorted({int(row[0]) for row in rows}):
        hours, memory = zip(*[(float(row[2]), float(row[3])) for row in rows if int(row[0]) == run], strict=True)
        axes.plot(hours, memory, linewidth=1, color="C0")
    highest = max(float(row[3]) for row in rows)
    axes.set(title=title, xlabel="hours of audio done", ylabel="resident memory, MiB", ylim=(0, highest * 1.2))
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_name(f"{path.name}.png"))
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=3.0, help="length of the recording")
    parser.add_argument("--model", help="a real model, in place of the stand-in")
    parser.add_argument("--compute_type", default="auto", help="of a real model")
    parser.add_argument("--audio", metavar="DIR", help="a folder of recordings, in place of noise")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "whisper_max_memory"), help="recording and journal"
    )
    args = parser.parse_args()
    model = load_model(args.model, compute_type=args.compute_type) if args.model else stand_in()
    name = "stand-in" if not args.model else args.model.replace("/", "_")
    name += f"_{args.compute_type}" if args.compute_type != "auto" else ""
    kind = "speech" if args.audio else "noise"
    args.work.mkdir(parents=True, exist_ok=True)
    recording = args.work / f"{kind}_{args.hours:g}h.wav"
    write_recording(recording, args.hours, speech(args.audio) if args.audio else noise())
    journal = args.work / f"{name}_{kind}_{args.hours:g}h.journal.jsonl"
    samples = REPOSITORY / "docs" / "measured" / f"memory_{name}.csv"
    resume = journal.exists() and samples.exists()
    sampler = Sampler(samples, interval=1.0 if args.model else 0.2, resume=resume)

    def advance(done: float, _total: float) -> None:
        sampler.hours = done / 3600

    start = time.monotonic()
    with sampler:
        result = model.transcribe(
            recording, language="en", temperature=0.0, journal=journal, resume=resume, on_progress=advance
        )
    seconds = time.monotonic() - start
    journal.unlink()
    rows = read_samples(samples)
    warm = [float(row[3]) for row in rows if float(row[2]) >= WARM_UP * args.hours]
    if not warm:
        parser.error("that is over too soon for samples: more --hours")
    print(f"{name}: {result.duration / 3600:.2f} h of {kind} in {seconds:.0f} s, {len(result.segments)} segments")
    print(f"memory after the first {WARM_UP:.0%}: {min(warm):.0f} to {max(warm):.0f} MiB, runs: {sampler.run}")
    figure = REPOSITORY / "docs" / "measured" / f"memory_{name}"
    draw(rows, f"Memory over {args.hours:g} hours of {kind} ({name.replace('_', ', ')})", figure)
    print(f"wrote {samples.relative_to(REPOSITORY)} and {figure.relative_to(REPOSITORY)}, .png and .svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
