"""Before a job begins: what of it is done already, what is split, and in which order the rest is done."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain

import av

from whisper_max.batch.job import DONE, SURELY_SHORT, Item, Job, Outcome
from whisper_max.batch.worker import file_version
from whisper_max.files.remote import found_at, is_remote, local_path, open_seekable

_THREADS = 16  # that ask the store: they wait more than they work
_LEAST_RATE = 6_000  # bytes of audio a second where no header tells: 48 kbit/s


def look_at(items: Sequence[Item]) -> list[Item]:
    """The items with their versions and sizes as they are now; what can't be asked is left to the worker."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_looked_at, items))


def not_done(
    items: Iterable[Item], job: Job, known: Iterable[Outcome]
) -> tuple[list[Item], list[Outcome], list[Outcome]]:
    """What an earlier run has left to do.

    Args:
        items: with their versions.
        job: what is to be done.
        known: rows of earlier runs.

    Returns:
        the items that are left; the rows that stand; the rows whose recordings are to be done again: they failed, or
        the recording, the options or the names of the transcripts are others now.
    """
    by_source: dict[str, list[Outcome]] = {}
    for row in known:
        by_source.setdefault(row.source, []).append(row)
    left, standing, outdated = [], [], []
    for item in items:
        rows = by_source.pop(item.shown, [])
        good = [row for row in rows if _stands(row, item, job)]
        standing += good[:1]
        outdated += [row for row in rows if row not in good[:1]]
        if not good:
            left.append(item)
    return left, standing, outdated


def _stands(row: Outcome, item: Item, job: Job) -> bool:
    same = (row.version, row.options) == (item.version, job.digest(item)) and item.version != ""
    return row.status == DONE and same and row.transcripts == item.shown_transcripts


def in_order(items: Sequence[Item], job: Job) -> list[Item]:
    """The rows that workers get: long recordings in parts, where the options permit, and what takes longest first."""
    if not job.can_split:
        return sorted(items, key=lambda item: -item.size)
    with ThreadPoolExecutor(_THREADS) as pool:
        rows = chain.from_iterable(pool.map(lambda item: _parts(item, job.part_minutes * 60), items))
        return sorted(rows, key=lambda item: -item.size / item.n_parts)


def _looked_at(item: Item) -> Item:
    try:
        if is_remote(item.source):
            found = found_at(item.source)
            return replace(item, version=found.version, size=max(found.size, 1))
        about = os.stat(local_path(item.source))
    except (OSError, ValueError):  # the worker will say why
        return item
    return replace(item, version=file_version(about), size=max(about.st_size, 1))


def _parts(item: Item, seconds: float) -> list[Item]:
    if item.size < SURELY_SHORT:
        return [item]
    n_parts = max(math.ceil(duration_of(item) / seconds - 0.5), 1)  # one and a half parts are one
    return [replace(item, part=part, n_parts=n_parts) for part in range(n_parts)]


def duration_of(item: Item) -> float:
    """Seconds of a recording as its header says, or by its size: to share out work, no transcript depends on it."""
    guess = item.size / _LEAST_RATE
    try:
        with ExitStack() as stack:
            source = stack.enter_context(open_seekable(item.source))
            container = stack.enter_context(av.open(source, "r", metadata_errors="replace"))
            return guess if container.duration is None else container.duration / av.time_base
    except (OSError, ValueError, av.FFmpegError):  # no audio, perhaps: the worker will say
        return 0.0
