"""Kill batches at random moments, an actor or the whole job, and see that nothing is lost, done twice or different.

`python scripts/checks/kill_batch.py --times 10`: each time a new output folder, a SIGKILL, the same command again until
it ends well, and then every transcript is compared with what `transcribe` gives, and every recording has one row.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FORMATS = "json,srt"
_ACTORS = ("ray::MapWorker", "ray::Ledger")  # those that transcribe, and the one that counts deaths
_LONGEST = 900.0  # seconds of one run on a busy machine


def make_recordings(folder: Path, n: int) -> None:
    """Some copies of the sample, each with another beginning, and one long recording."""
    import soundfile

    samples, rate = soundfile.read(REPOSITORY / "samples" / "jfk.flac", dtype="float32")
    folder.mkdir(parents=True)
    for number in range(n):
        soundfile.write(folder / f"clip{number:02d}.flac", samples[number * rate // 4 :], rate)
    import numpy as np

    soundfile.write(folder / "long.flac", np.tile(samples, 12), rate)


def start(recordings: Path, output: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "whisper_max", "batch", str(recordings), "--output", str(output)]
    log = (output.parent / "log.txt").open("ab")
    return subprocess.Popen([*command, "-f", FORMATS, *options], stderr=log, stdout=log, cwd=REPOSITORY)


def actors_of(job: int) -> list[int]:
    """Processes of actors that belong to a job, found by the session of Ray that it started."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                if (place / "cmdline").read_bytes().decode().startswith(_ACTORS) and _descends(int(place.name), job):
                    found.append(int(place.name))
            except OSError:  # it has just ended
                continue
    return found


def _descends(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def strike(job: subprocess.Popen[bytes], output: Path, whole: bool, random_: random.Random) -> str:
    """Wait for a random moment and kill; returns what was killed, and when."""
    begun = time.monotonic()
    wanted = random_.randrange(0, 5)  # transcripts that are to be there, so that moments differ in what is done
    while job.poll() is None:
        n_done = len(list(output.glob("*.json")))
        actors = actors_of(job.pid)
        if (whole or actors) and n_done >= wanted:
            time.sleep(random_.uniform(0.0, 1.0))
            after = time.monotonic() - begun
            try:
                os.kill(job.pid if whole else random_.choice(actors), signal.SIGKILL)
            except ProcessLookupError:
                continue
            return f"{'the job' if whole else 'an actor'} after {after:.1f} s, {n_done} transcripts"
        time.sleep(0.05)
    return "nothing: it had ended"


def differences(output: Path, reference: Path) -> list[str]:
    """What is wrong with the output; empty where all is as it should be."""
    wrong = []
    for path in sorted(reference.iterdir()):
        mine = output / path.name
        if not mine.exists():
            wrong.append(f"{path.name} is missing")
        elif mine.read_bytes() != path.read_bytes():
            wrong.append(f"{path.name} differs")
    rows = [json.loads(line) for part in (output / "results").glob("*.jsonl") for line in part.read_text().splitlines()]
    counts = Counter(row["source"] for row in rows)
    expected = {path.stem for path in reference.glob("*.json")}
    wrong += [f"{count} rows of {source}" for source, count in counts.items() if count > 1]
    wrong += [f"no row of {name}" for name in sorted(expected - {Path(source).stem for source in counts})]
    wrong += [f"{row['source']} {row['status']}: {row['error']}" for row in rows if row["status"] != "done"]
    wrong += [f"{path.name} is left over" for path in output.rglob("*.part")]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--actors", default="2")
    parser.add_argument("--model", default="tiny.en")
    args = parser.parse_args()
    random_ = random.Random(args.seed)
    decoding = ["--model", args.model, "--batch_size", "4"]
    options = [*decoding, "--actors", args.actors, "--num_cpus", "1", "--part_minutes", "0.8"]
    n_wrong = 0
    with tempfile.TemporaryDirectory(prefix="whisper_max-kill-") as name:
        folder = Path(name)
        make_recordings(folder / "in", args.clips)
        reference = folder / "reference"
        transcribe = [sys.executable, "-m", "whisper_max", "transcribe", str(folder / "in"), "-o", str(reference)]
        quiet = ["--verbose", "False", "-f", FORMATS, "--threads", "1"]
        subprocess.run([*transcribe, *quiet, *decoding], check=True, cwd=REPOSITORY)
        print("| killed | runs until done | result |\n| --- | --- | --- |")
        for number in range(args.times):
            output = folder / "out"
            shutil.rmtree(output, ignore_errors=True)
            job = start(folder / "in", output, options)
            what = strike(job, output, number % 2 == 1, random_)
            job.wait(_LONGEST)
            n_runs = 1
            while job.returncode != 0 and n_runs < 5:
                job = start(folder / "in", output, options)
                job.wait(_LONGEST)
                n_runs += 1
            wrong = differences(output, reference)
            if job.returncode != 0:
                wrong.append(f"exit status {job.returncode}")
            n_wrong += bool(wrong)
            print(f"| {what} | {n_runs} | {'; '.join(wrong) or 'all there, once, the same bytes'} |", flush=True)
        if n_wrong:
            print((folder / "log.txt").read_text()[-4000:], file=sys.stderr)
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
