"""The bounds that this package sets itself, measured: accuracy beside openai-whisper, cost of words, gain of batches.

    python scripts/bench/bounds.py manifest.jsonl --json bounds.json --wer --peer_python peers/bin/python \\
        --limit_seconds 60
    python scripts/bench/bounds.py manifest.jsonl --json bounds.json --words samples/jfk.flac --runs 5
    python scripts/bench/bounds.py manifest.jsonl --json bounds.json --batch long1.flac long2.flac --runs 3

``--wer``: the English recordings of the manifest, greedy and with 5 beams, by this package and by openai-whisper with
the same samples, weights and options (temperature fallback included); word error rates after the standard English
normalisation may differ by 0.1 per cent of the words. ``--words``: the same recording with and without word timestamps
in turn; they may cost 20 % of the time. ``--batch``: recordings one window after the other and 8 pieces side by side,
in turn; batches must be 1.5 times as fast and no more than 0.3 per cent of the words worse. A reference is the
manifest's, or the text file beside a recording.

Every figure is written to the JSON at once, and a rerun goes on from there; ``--again`` measures ours anew, while
openai-whisper's part is run once. The exit status is 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.runs import PEER_PATH
from tqdm import tqdm

import whisper_max
from whisper_max.api import Model
from whisper_max.audio.io import load_audio
from whisper_max.files.atomic import whole_file
from whisper_max.measure.evaluate import Errors, ManifestEntry, Normaliser, count_errors, read_manifest

LADDER = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"language": "en", "temperature": LADDER},
    "beam 5": {"language": "en", "temperature": LADDER, "beam_size": 5},
}
PEER = "openai-whisper"
MOST_WER, MOST_WORDS_COST, LEAST_BATCH_SPEED, MOST_BATCH_WER = 0.1, 20.0, 1.5, 0.3
BATCH_SIZE = 8

Results = dict[str, Any]
"""What the JSON holds: part -> name of a recording -> figures; and the model's name."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="where the figures are kept")
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_type", default="float32")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--again", action="store_true", help="forget what was measured of ours in these parts")
    parser.add_argument("--wer", action="store_true")
    parser.add_argument("--peer_python", default=sys.executable, help="interpreter with openai-whisper and the weights")
    parser.add_argument("--limit_seconds", type=float, default=np.inf, help="leave out longer recordings of --wer")
    parser.add_argument("--limit", type=int, help="only so many recordings of --wer")
    parser.add_argument("--words", type=Path, metavar="AUDIO")
    parser.add_argument("--batch", type=Path, nargs="+", default=[], metavar="AUDIO")
    parser.add_argument("--runs", type=int, default=3, help="of each of what is timed")
    return parser.parse_args()


class Kept:
    """The figures of a model, read from a file and written there after each; a file of another model is refused."""

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self.results: Results = {"model": model}
        if path.exists():
            self.results = json.loads(path.read_text(encoding="utf-8"))
            if self.results["model"] != model:
                raise SystemExit(f"{path} is of {self.results['model']}, not of {model}: name another --json")

    def forget(self, parts: Iterable[str]) -> None:
        """Measure parts anew."""
        for part in parts:
            self.results.pop(part, None)

    def once(self, part: str, name: str, measure: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is measured
        """A figure: the one kept, else measured now and kept."""
        figures = self.results.setdefault(part, {})
        if name not in figures:
            figures[name] = measure()
            with whole_file(self._path) as file:
                file.write((json.dumps(self.results, indent=1) + "\n").encode())
        return figures[name]


# ---------------------------------------------------------------- word error rates


class Peer:
    """openai-whisper in a process of its own, started when it is first asked."""

    def __init__(self, python: str, model: str, threads: int) -> None:
        self._command = [python, "-m", "benchmarks.peer_texts", model, str(threads)]
        self._process: subprocess.Popen[str] | None = None
        self.versions: dict[str, str] = {}

    def transcribe(self, samples: np.ndarray, options: Mapping[str, Any]) -> dict[str, Any]:
        """The text of 16 kHz mono float32 samples, the seconds it took, and the versions."""
        if self._process is None:
            env = {**os.environ, "PYTHONPATH": PEER_PATH}
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True, env=env)
            self.versions = self._answer(self._process)
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            np.save(file, samples)
            file.flush()
            assert self._process.stdin is not None
            print(json.dumps({"audio": file.name, "options": options}), file=self._process.stdin, flush=True)
            return {**self._answer(self._process), "versions": self.versions}

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"openai-whisper ended with exit status {process.wait()}")
        return dict(json.loads(line))


def english(entries: Iterable[ManifestEntry], limit_seconds: float, limit: int | None) -> list[ManifestEntry]:
    """The recordings to score; the manifest says how long they are."""
    chosen = [entry for entry in entries if entry.language == "en" and entry.keys.get("seconds", 0.0) <= limit_seconds]
    return chosen[:limit]


def measure_wer(kept: Kept, ours: str, load: Callable[[], Model], peer: Peer, entries: list[ManifestEntry]) -> None:
    """Transcribe every recording by both, with both searches; the peer first, while the model is not loaded."""
    try:
        for entry in tqdm(entries, PEER, unit="recording"):
            for search, options in SEARCHES.items():
                kept.once(
                    f"{PEER}, {search}",
                    entry.name,
                    partial(_of_file, peer.transcribe, entry.path, options),
                )
    finally:
        peer.close()
    for entry in tqdm(entries, ours, unit="recording"):
        for search, options in SEARCHES.items():
            kept.once(
                f"{ours}, {search}",
                entry.name,
                partial(_of_file, lambda samples, how: timed(load(), samples, how), entry.path, options),
            )


def _of_file(transcribe: Callable[..., dict[str, Any]], path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    return transcribe(load_audio(path), options)


def timed(model: Model, samples: np.ndarray, options: Mapping[str, Any]) -> dict[str, Any]:
    """A transcript and the seconds that it took."""
    start = time.perf_counter()
    result = model.transcribe(samples, **options)
    return {"text": result.text, "elapsed": time.perf_counter() - start}


def report_wer(results: Results, ours: str, entries: list[ManifestEntry]) -> bool:
    """Print the rates beside each other, and where the texts differ; True where the bound is kept."""
    normalise = Normaliser()
    kept = True
    lines = ["| search | openai-whisper WER % | ours WER % | difference | same text | same words |", "|" + " --- |" * 6]
    differing = []
    for search in SEARCHES:
        texts = {who: {e.name: results[f"{who}, {search}"][e.name]["text"] for e in entries} for who in (PEER, ours)}
        rates = {who: word_errors(entries, texts[who], normalise) for who in texts}
        difference = 100 * ((rates[ours].rate or 0.0) - (rates[PEER].rate or 0.0))
        kept &= abs(difference) <= MOST_WER
        pairs = {entry.name: (texts[PEER][entry.name], texts[ours][entry.name]) for entry in entries}
        same = sum(one == other for one, other in pairs.values())
        alike = sum(normalise(one, "en") == normalise(other, "en") for one, other in pairs.values())
        lines.append(
            f"| {search} | {percent(rates[PEER])} | {percent(rates[ours])} | {difference:+.3f} "
            f"| {same} of {len(entries)} | {alike} of {len(entries)} |"
        )
        differing += [
            f"\n{name}, {search}:\n  {PEER}: {one.strip()}\n  {ours}: {other.strip()}"
            for name, (one, other) in pairs.items()
            if one != other
        ]
    print("\n".join([*lines, *differing, "", verdict(kept, f"the rates differ by at most {MOST_WER}")]))
    return kept


def word_errors(entries: Iterable[ManifestEntry], texts: Mapping[str, str], normalise: Normaliser) -> Errors:
    """The word errors of all recordings together."""
    return sum(
        (
            count_errors(normalise(entry.transcript, "en"), normalise(texts[entry.name], "en"), "en")[0]
            for entry in entries
        ),
        Errors(),
    )


def percent(errors: Errors) -> str:
    return "-" if errors.rate is None else f"{100 * errors.rate:.3f}"


# ---------------------------------------------------------------- times


def measure_pair(
    kept: Kept, part: str, load: Callable[[], Model], path: Path, options: Iterable[Mapping[str, Any]], runs: int
) -> None:
    """Time a recording with each of two sets of options, in turn; once before, for what is made at the first use."""
    names = [f"{path.name}, run {run}" for run in range(runs)]
    if all(name in kept.results.get(part, {}) for name in names):
        return
    samples, both = load_audio(path), list(options)
    for each in both:
        timed(load(), samples[: 16000 * 30], each)
    for name in names:
        kept.once(part, name, lambda: [timed(load(), samples, each) for each in both])


def ratios(results: Results, part: str, path: Path, runs: int) -> list[float]:
    """Second time over first, of each run."""
    pairs = [results[part][f"{path.name}, run {run}"] for run in range(runs)]
    return [second["elapsed"] / first["elapsed"] for first, second in pairs]


WORD_PAIR: list[dict[str, Any]] = [{"language": "en"}, {"language": "en", "word_timestamps": True}]
BATCH_PAIR: list[dict[str, Any]] = [{"language": "en"}, {"language": "en", "batch_size": BATCH_SIZE}]


def report_words(results: Results, part: str, path: Path, runs: int) -> bool:
    """Print what words cost; True where the bound is kept."""
    costs = [100 * (ratio - 1) for ratio in ratios(results, part, path, runs)]
    cost = statistics.median(costs)
    kept = cost <= MOST_WORDS_COST
    print(f"{path.name}: word timestamps cost {cost:.1f} % ({min(costs):.1f} to {max(costs):.1f}, {runs} runs)")
    print(verdict(kept, f"at most {MOST_WORDS_COST} %"))
    return kept


def report_batch(results: Results, part: str, entries: Iterable[ManifestEntry], paths: list[Path], runs: int) -> bool:
    """Print the gain of batches of each recording, and the word error rates; True where the bounds are kept."""
    known = {Path(entry.path).resolve(): entry.transcript for entry in entries}
    normalise = Normaliser()
    lines = ["| recording | speed of 8 over 1 (min-max) | WER % at 1 | WER % at 8 |", "|" + " --- |" * 4]
    kept = True
    sums = [Errors(), Errors()]
    for path in paths:
        gains = [1 / ratio for ratio in ratios(results, part, path, runs)]
        kept &= statistics.median(gains) >= LEAST_BATCH_SPEED
        reference = known.get(path.resolve()) or path.with_suffix(".txt").read_text(encoding="utf-8")
        entry = ManifestEntry(path, path.name, reference, "en")
        pair = results[part][f"{path.name}, run 0"]
        errors = [word_errors([entry], {path.name: each["text"]}, normalise) for each in pair]
        sums = [total + one for total, one in zip(sums, errors, strict=True)]
        lines.append(
            f"| {path.name} | {statistics.median(gains):.2f} ({min(gains):.2f}-{max(gains):.2f}) "
            f"| {percent(errors[0])} | {percent(errors[1])} |"
        )
    worse = 100 * ((sums[1].rate or 0.0) - (sums[0].rate or 0.0))
    kept &= worse <= MOST_BATCH_WER
    wanted = f"each at least {LEAST_BATCH_SPEED} times as fast, together at most {MOST_BATCH_WER} worse ({worse:+.3f})"
    print("\n".join([*lines, "", verdict(kept, wanted)]))
    return kept


def verdict(kept: bool, wanted: str) -> str:
    return f"{'kept' if kept else 'NOT KEPT'}: {wanted}\n"


def main() -> int:
    """Measure what is asked for and print it."""
    args = parse()
    kept = Kept(args.json, args.model)
    entries = read_manifest(args.manifest).entries
    ours = f"ours, {args.compute_type}"
    words, batch = (f"{ours}, {args.threads} threads, {part}" for part in ("words", "batch"))
    if args.again:
        asked = {words: args.words, batch: args.batch} | {f"{ours}, {search}": args.wer for search in SEARCHES}
        kept.forget(part for part, wanted in asked.items() if wanted)
    loaded: list[Model] = []

    def load() -> Model:
        if not loaded:
            how = {"device": "cpu", "compute_type": args.compute_type, "threads": args.threads}
            loaded.append(whisper_max.load_model(args.model, **how, offline=True, progress=tqdm.write))
        return loaded[0]

    verdicts = []
    if args.wer:
        chosen = english(entries, args.limit_seconds, args.limit)
        measure_wer(kept, ours, load, Peer(args.peer_python, args.model, args.threads), chosen)
        verdicts.append(report_wer(kept.results, ours, chosen))
    if args.words is not None:
        measure_pair(kept, words, load, args.words, WORD_PAIR, args.runs)
        verdicts.append(report_words(kept.results, words, args.words, args.runs))
    for path in args.batch:
        measure_pair(kept, batch, load, path, BATCH_PAIR, args.runs)
    if args.batch:
        verdicts.append(report_batch(kept.results, batch, entries, args.batch, args.runs))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
