"""``batch`` on the command line: a job over many recordings on Ray, that goes on where it was cut off."""

from __future__ import annotations

import argparse
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from whisper_max.commands.console import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, print_error, progress, say, shown
from whisper_max.commands.flags import (
    TRANSCRIBE_GROUPS,
    Option,
    Subcommands,
    output_formats,
)
from whisper_max.commands.loading import model_arguments
from whisper_max.errors import WhisperMaxError
from whisper_max.files.remote import is_remote, local_path, place

if TYPE_CHECKING:
    from whisper_max.batch.job import Item, Job, Outcome
    from whisper_max.batch.results import Results
    from whisper_max.ray import Cluster, Pool

_MOST_THREADS = 4  # of an actor, unless given: more windows a second come of more actors than of more threads
_FILES_AT_ONCE = 4
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def _actors(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise argparse.ArgumentTypeError(f"expected a number, or MIN-MAX, found {text!r}")
    return least, most


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return number


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1 << 16:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text!r}")
    return int(text)


OUTPUT = (
    Option("output_format", output_formats, "json", "formats of transcripts, with commas; or all", short="-f"),
    Option("results", str, "jsonl", "the table of all recordings: jsonl or parquet", choices=("jsonl", "parquet")),
)
SHARING = (
    Option("ray", str, None, "address of a Ray cluster; auto: the one of this machine", unset="one is started here"),
    Option("actors", _actors, None, "workers, each with a model: N, or MIN-MAX", unset="as many as have room"),
    Option("num_cpus", _count, None, "CPUs, and threads, of a worker", unset=f"up to {_MOST_THREADS}"),
    Option("num_gpus", _positive, None, "GPUs of a worker; below 1 for a share of one", unset="none"),
    Option("files_at_once", _count, _FILES_AT_ONCE, "recordings that a worker decodes side by side"),
    Option("part_minutes", _positive, 30.0, "with --batch_size above 1, long recordings are shared out in such parts"),
)
WATCHING = (
    Option("watch", bool, False, "go on: transcribe what is new, until interrupted", switch=True),
    Option("interval", _positive, 30.0, "seconds between two looks"),
    Option("settle", _positive, 30.0, "seconds that a recording must have been as it is"),
)
_NOT_HERE = {"threads", "gpu_memory_utilization"}
_GROUPS = (
    *((title, options) for title, options in TRANSCRIBE_GROUPS if title not in ("output", "other")),
    ("output", OUTPUT),
    ("sharing", SHARING),
    ("watching", WATCHING),
)


def add(commands: Subcommands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "batch",
        help="thousands of recordings, on one machine or on many",
        usage="%(prog)s [OPTION]... RECORDINGS... --output PLACE",
        description="Transcribe many recordings on Ray, each as transcribe does it. The same command again does what is"
        " missing.",
        epilog="example: python -m whisper_max batch s3://archive/2026/ --output s3://archive/text --ray auto -f srt",
    )
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="RECORDINGS",
        help="manifests (.jsonl, .txt), folders, patterns, files and URLs",
    )
    parser.add_argument(
        "--output", required=True, metavar="PLACE", help="folder for transcripts and results, or its URL"
    )
    for title, options in _GROUPS:
        group = parser.add_argument_group(f"{title} options")
        for option in options:
            if option.name not in _NOT_HERE:
                option.add_to(group)
    parser.set_defaults(run=run, parser=parser, threads=None, gpu_memory_utilization=None)


def run(args: argparse.Namespace) -> int:
    """Do what is missing of the job; then, where it is asked to watch, what is new."""
    from whisper_max.batch.results import Results

    job, output = _job(args), place(args.output)
    results = Results(output, args.results, say)
    batch = _Batch(job, args, results)
    try:
        with _ended_by_sigterm():
            if args.watch:
                batch.watch()
            else:
                batch.once()
    except KeyboardInterrupt:
        results.flush()
        say(f"interrupted: {batch.summary()}; the same command goes on")
        return EXIT_INTERRUPTED
    finally:
        results.flush()
        results.close()
    say(batch.summary())
    if results.n_waiting:
        say(f"error: {results.n_waiting} rows of results have no room; the same command writes them")
        return EXIT_FAILED
    return EXIT_FAILED if batch.n_failed else EXIT_OK


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """What ends a service ends the work as Ctrl-C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _job(args: argparse.Namespace) -> Job:
    """The job of the command's arguments, with paths that are the same in every process."""
    from whisper_max.batch.job import Job
    from whisper_max.commands.transcribe import check_vad_options, layout_from, options_from
    from whisper_max.hardware.cores import usable_cores
    from whisper_max.transcribe.options import TranscribeOptions

    check_vad_options(args)
    args.word_timestamps = args.word_timestamps or args.subtitle_style is not None
    options = TranscribeOptions(**options_from(args))
    if args.num_cpus is None:
        args.num_cpus = min(usable_cores(), _MOST_THREADS)
    model = model_arguments(args) | {"threads": args.num_cpus}
    for name in ("model", "weights_dir"):
        if model[name] is not None and os.path.exists(str(model[name])):
            model[name] = os.path.abspath(str(model[name]))
    model["lora"] = tuple(_absolute(adapter) for adapter in model["lora"])
    return Job(
        args.output if is_remote(args.output) else os.path.abspath(local_path(args.output)),
        {name: value for name, value in model.items() if value not in (None, ())},
        options,
        args.output_format,
        layout_from(args),
        1 if options.batch_size > 1 else args.files_at_once,
        args.part_minutes,
    )


def _absolute(adapter: str) -> str:
    path, equals, factor = adapter.partition("=")
    return (os.path.abspath(path) if os.path.exists(path) else path) + equals + factor


@dataclass
class _Batch:
    """The job of one command, and what became of it."""

    job: Job
    args: argparse.Namespace
    results: Results
    n_done: int = 0
    n_failed: int = 0
    n_skipped: int = 0
    audio_seconds: float = 0.0
    work_seconds: float = 0.0
    _told: set[str] = field(default_factory=set)
    _last_error: str = ""

    def once(self) -> None:
        """Do what is missing."""
        left = self._left(self._find(), lambda item: True)
        if left:
            with self._cluster() as (cluster, pool):
                self._do(left, cluster, pool)

    def watch(self) -> None:
        """Do what is missing, and look again and again."""
        seen: dict[str, tuple[str, float]] = {}  # by source: its version, and since when it is that
        failed: set[tuple[str, str]] = set()

        def is_settled(item: Item) -> bool:
            version, since = seen.get(item.source, ("", 0.0))
            if version != item.version:
                seen[item.source] = item.version, time.monotonic()
                return False
            return time.monotonic() - since >= self.args.settle and (item.source, item.version) not in failed

        say(f"watching {', '.join(map(shown, self.args.recordings))}; Ctrl-C ends")
        with self._cluster() as (cluster, pool):
            while True:
                if left := self._left(self._find(), is_settled):
                    before = {item.source: item.version for item in left}
                    done = {outcome.id for outcome in self._do(left, cluster, pool) if outcome.status == "done"}
                    failed |= {(item.source, before[item.source]) for item in left if item.id not in done}
                    self.results.flush()
                    say(self.summary())
                time.sleep(self.args.interval)

    def _find(self) -> list[Item]:
        from whisper_max.commands.manifest import find_items

        items, errors, n_repeated = find_items(self.args.recordings, place(self.job.output), self.job.formats)
        for error in errors:
            self._fail(str(error), error)
        if n_repeated:
            self._say_once(f"{n_repeated} recordings are named more than once, and done once")
        return items

    def _left(self, items: Sequence[Item], wanted: Callable[[Item], bool]) -> list[Item]:
        """What has no outcome that stands; in the table, what is about to be done again makes room."""
        from whisper_max.batch.plan import look_at, not_done

        left, standing, outdated = not_done(look_at(items), self.job, self.results.known())
        self.n_skipped = len(standing)
        left = [item for item in left if wanted(item)]
        sources = {item.shown for item in left}
        self.results.drop(row for row in outdated if row.source in sources)
        return left

    @contextmanager
    def _cluster(self) -> Iterator[tuple[Cluster, Pool]]:
        from whisper_max.ray import Pool, connected

        least, most = self.args.actors or (1, 0)
        pool = Pool(self.args.num_cpus, self.args.num_gpus or 0, least, most)
        address = self.args.ray
        with connected(address, None if address else max(self.args.num_cpus * max(most, 1), _cores())) as cluster:
            where = "on this machine" if cluster.is_local else f"at {self.args.ray}"
            say(f"Ray {where}: {cluster.cpus} CPUs, {cluster.gpus} GPUs; ready in {cluster.seconds:.1f} s")
            pool.size(cluster)
            yield cluster, pool

    def _do(self, items: Sequence[Item], cluster: Cluster, pool: Pool) -> list[Outcome]:
        from whisper_max.ray import run

        start, before = time.monotonic(), self.work_seconds
        sizes = {item.id: item.size for item in items}
        outcomes = []
        with progress(sum(sizes.values()), _BAR) as bar:
            bar.set_description_str(f"0 of {len(items)}", refresh=False)
            for outcome in run(self.job, items, cluster, pool, say):
                outcomes.append(outcome)
                self._take(outcome)
                self.work_seconds = before + time.monotonic() - start
                bar.set_description_str(f"{self.summary()}, of {len(items)}", refresh=False)
                bar.update(sizes[outcome.id])
        return outcomes

    def _take(self, outcome: Outcome) -> None:
        self.results.add(outcome)
        if outcome.status == "done":
            self.n_done += 1
            self.audio_seconds += outcome.duration
            return
        self.n_failed += 1
        if outcome.error != self._last_error:  # what no node has a model for would say the same of every recording
            say(f"error: {outcome.error}")
        self._last_error = outcome.error

    def _fail(self, message: str, error: WhisperMaxError) -> None:
        """An error of a line or a word, which is told and counted once."""
        if message not in self._told:
            self._told.add(message)
            self.n_failed += 1
            print_error(error)

    def _say_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            say(line)

    def summary(self) -> str:
        """``198 done, 2 failed; 45.2 h of audio in 1.0 h, 45 hours an hour``."""
        counts = {"done": self.n_done, "failed": self.n_failed, "done before": self.n_skipped}
        line = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done")
        if not self.work_seconds:
            return line
        speed = self.audio_seconds / self.work_seconds
        took = f"{_hours(self.audio_seconds)} of audio in {_hours(self.work_seconds)}"
        return f"{line}; {took}, {speed:.1f} hours an hour"


def _hours(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 3600:.2f} h"


def _cores() -> int:
    from whisper_max.hardware.cores import usable_cores

    return usable_cores()
