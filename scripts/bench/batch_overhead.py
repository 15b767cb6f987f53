"""What `batch` costs over `transcribe` on this machine: short recordings, and a long one, in turns.

Prints for both the seconds of the whole process and processor seconds, for `batch` without those that Ray takes to
start an actor of Ray Data which does nothing, and to end. These have a line of their own, with Ray's memory (all of its
processes but the workers, by their proportional share).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread

import numpy as np
import soundfile

REPOSITORY = Path(__file__).resolve().parents[2]
RAY_ALONE = """
from whisper_max.ray import connected
from whisper_max.ray.cluster import imported

class Nothing:
    def __call__(self, batch):
        return batch

with connected(num_cpus={num_cpus}) as cluster:
    ray = imported()
    rows = ray.data.from_items([{{"row": 1}}]).map_batches(
        Nothing, compute=ray.data.ActorPoolStrategy(size=1), num_cpus={num_cpus}
    )
    assert rows.count() == 1
"""


def make(folder: Path, n_short: int, seconds: float, long_minutes: float) -> None:
    samples, rate = soundfile.read(REPOSITORY / "samples" / "jfk.flac", dtype="float32")
    (folder / "short").mkdir(parents=True)
    (folder / "long").mkdir()
    random = np.random.default_rng(1)
    for number in range(n_short):
        noise = random.normal(0, 1e-4, round(seconds * rate)).astype(np.float32)
        soundfile.write(folder / "short" / f"{number:03d}.wav", samples[: len(noise)] + noise[: len(samples)], rate)
    with soundfile.SoundFile(folder / "long" / "long.flac", "w", rate, 1) as file:
        for _ in range(max(round(long_minutes * 60 * rate / len(samples)), 1)):
            file.write(samples + random.normal(0, 1e-4, len(samples)).astype(np.float32))


@dataclass(frozen=True)
class Run:
    """Seconds of a whole process, of its processors and those of all that it started, and what it said.

    ray_mib: most memory of Ray's own processes, by proportional share.
    """

    seconds: float
    cpu_seconds: float
    said: str
    ray_mib: float


def timed(command: list[str]) -> Run:
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    )
    watched = Watched(process.pid)
    watched.start()
    _, said = process.communicate()
    watched.join()
    if process.returncode:
        raise SystemExit(said[-2000:])
    return Run(time.monotonic() - start, sum(watched.cpu.values()), said, watched.most)


class Watched(Thread):
    """Looks at a process and all below it until it ends."""

    def __init__(self, process: int) -> None:
        super().__init__()
        self.process = process
        self.cpu: dict[int, float] = {}
        self.most = 0.0

    def run(self) -> None:
        while Path(f"/proc/{self.process}").exists():
            mib = 0.0
            for process, command in below(self.process):
                try:
                    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                    self.cpu[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    if process != self.process and not command.startswith("ray::MapWorker"):
                        shares = Path(f"/proc/{process}/smaps_rollup").read_text()
                        mib += int(re.findall(r"^Pss: +([0-9]+)", shares, re.MULTILINE)[0]) / 1024
                except (OSError, IndexError):  # it has just ended
                    continue
            self.most = max(self.most, mib)
            time.sleep(0.5)


def below(ancestor: int) -> list[tuple[int, str]]:
    """A process and all that it started, with their commands."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace")
            except OSError:  # it has just ended
                continue

    def is_below(process: int) -> bool:
        return process == ancestor or (process in parents and is_below(parents[process]))

    return [(process, command) for process, command in commands.items() if is_below(process)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=200, help="short recordings")
    parser.add_argument("--seconds", type=float, default=11.0, help="of each")
    parser.add_argument("--long_minutes", type=float, default=180.0)
    parser.add_argument("--only", choices=("short", "long"))
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--compute_type", default="auto")
    parser.add_argument("--batch_size", default="1", help="of the long recording; above 1 it is done in parts")
    parser.add_argument("--num_cpus", default="2")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whisper_max-overhead-") as name:
        folder = Path(name)
        make(folder, args.short, args.seconds, args.long_minutes)
        model = ["--model", args.model, "--compute_type", args.compute_type, "-f", "json"]
        kinds = {
            f"{args.short} of {args.seconds:g} s": ("short", ["--files_at_once", "4"]),
            f"one of {args.long_minutes:g} min": ("long", ["--batch_size", args.batch_size]),
        }
        for what, (kind, both) in kinds.items():
            if args.only and kind != args.only:
                continue
            runs: dict[str, list[Run]] = {"transcribe": [], "batch": [], "Ray": []}
            for _ in range(args.runs):
                for path in ("one", "many"):
                    shutil.rmtree(folder / path, ignore_errors=True)
                command = [
                    "-m",
                    "whisper_max",
                    "transcribe",
                    str(folder / kind),
                    "-o",
                    str(folder / "one"),
                    *both,
                    *model,
                ]
                runs["transcribe"].append(timed([*command, "--threads", args.num_cpus, "--verbose", "False"]))
                command = [
                    "-m",
                    "whisper_max",
                    "batch",
                    str(folder / kind),
                    "--output",
                    str(folder / "many"),
                    *both,
                    *model,
                ]
                runs["batch"].append(timed([*command, "--num_cpus", args.num_cpus]))
                runs["Ray"].append(timed(["-c", RAY_ALONE.format(num_cpus=args.num_cpus)]))
            took = {name: median(run.seconds for run in those) for name, those in runs.items()}
            shared, alone = took["batch"] - took["Ray"], took["transcribe"]
            print(f"{what}: batch {shared:.1f} s, transcribe {alone:.1f} s, {100 * (shared / alone - 1):+.1f} %")
            cpu = {name: median(run.cpu_seconds for run in those) for name, those in runs.items()}
            print(f"{what}: processor seconds: batch with Ray {cpu['batch']:.1f}, transcribe {cpu['transcribe']:.1f}")
            mib = max(run.ray_mib for run in runs["batch"])
            print(f"{what}: Ray alone: {took['Ray']:.1f} s, {mib:.0f} MiB besides the worker", flush=True)


if __name__ == "__main__":
    main()
