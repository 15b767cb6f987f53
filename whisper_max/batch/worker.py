"""One worker of a job: it has one model, gets rows, and gives a row for each, whatever happens.

What it does with a recording depends on nothing but the recording and the options, so it doesn't matter which worker
does it, how often, or after what. What is there already, from a worker that was killed or a job before, is not done
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Protocol, TypeVar

from whisper_max.api import Model
from whisper_max.audio.opening import spool_url
from whisper_max.audio.spool import temporary_file
from whisper_max.batch.job import DONE, FAILED, PART, SURELY_SHORT, Item, Job, Outcome, as_text
from whisper_max.batch.records import Records
from whisper_max.checkpoint.checksum import sha256_of
from whisper_max.errors import AudioError, JournalError, WhisperMaxError
from whisper_max.files.cache import cache_dir, why_unwritable
from whisper_max.files.remote import found_at, is_remote, local_path, place, scheme, shown_source
from whisper_max.load import load_model
from whisper_max.output import write_result
from whisper_max.transcribe.journal import join_journals
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import TranscriptionResult

T = TypeVar("T")

UNSERVED = "unserved"
"""The status of a row that this worker can't do and another may: it has no model."""
MOST_DEATHS = 4
"""Workers that may die over a recording before it is given up: a row that kills must not kill for ever."""
_LOAD_AGAIN = 30.0  # seconds after which a model that could not be loaded is tried again


class Attempts(Protocol):
    """Remembers what is being done, for those who come after a worker that was killed over it."""

    def begin(self, keys: Sequence[str]) -> int:
        """Say that these are begun; returns how often, at most, one of them was begun before and never ended."""
        ...

    def end(self, keys: Sequence[str]) -> None:
        """Say that these are done."""
        ...


class NoAttempts:
    """Remembers nothing: for a worker that nobody starts again."""

    def begin(self, keys: Sequence[str]) -> int:
        """Nothing died before."""
        return 0

    def end(self, keys: Sequence[str]) -> None:
        """Nobody asks."""


@dataclass(frozen=True)
class _Opened:
    """A recording that is there: what to transcribe, and where its records are."""

    item: Item
    audio: str | FileIO
    options: TranscribeOptions
    records: Records
    version: str

    @property
    def is_short(self) -> bool:
        """Whether it is a whole recording of few bytes, as far as that is known: done again sooner than a journal pays,
        each line of which waits for the disk."""
        return self.item.n_parts == 1 and 1 < self.item.size < SURELY_SHORT

    @property
    def journal(self) -> Path | None:
        """Where on this machine a worker that is started again finds what was done.

        None where nothing can be kept, and for a short recording, which is soon done again.
        """
        if self.is_short or why_unwritable() is not None:
            return None
        part = "" if self.item.n_parts == 1 else f".{self.item.part + 1}-{self.item.n_parts}"
        return cache_dir() / "batch" / f"{self.records.content}.{self.records.options}{part}.journal.jsonl"


class Worker:
    """Does rows of a job.

    Args:
        job: what is done.
        attempts: what is remembered of workers that died.
        load: loads the model, when the first row comes.
    """

    def __init__(self, job: Job, attempts: Attempts | None = None, load: Callable[[], Model] | None = None) -> None:
        self._job = job
        self._attempts: Attempts = NoAttempts() if attempts is None else attempts
        self._load = partial(load_model, **job.model) if load is None else load
        self._model: Model | None = None
        self._failed: tuple[float, Exception] | None = None
        self._node = socket.gethostname()
        self._folder = place(job.output)

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        """Do some rows: an outcome for each, in their order; nothing is raised but what ends the process."""
        known = [item for item in items if item.size > 1]
        # Those of unknown size may be large: no more of them are fetched than are decoded at once.
        unknown = [item for item in items if item.size <= 1]
        size = self._job.files_at_once
        groups = [known, *(unknown[start : start + size] for start in range(0, len(unknown), size))]
        outcomes = {item.key: outcome for group in groups for item, outcome in self._together(group)}
        return [outcomes[item.key] for item in items]

    def _together(self, items: Sequence[Item]) -> Iterable[tuple[Item, Outcome]]:
        """Do rows as one batch, in which one takes another's place, or each alone where a worker died over them."""
        if len(items) < 2 or self._job.files_at_once == 1:
            return [(item, self._single(item)) for item in items]
        keys = [item.key for item in items]
        n_deaths = self._attempts.begin(keys)
        try:
            outcomes = [self._single(item) for item in items] if n_deaths else self._do(items, 0)
            return zip(items, outcomes, strict=True)
        finally:
            self._attempts.end(keys)

    def _single(self, item: Item) -> Outcome:
        """Do one row, with less memory after each worker that died over it, and not for ever."""
        key = f"{item.key} alone"
        n_deaths = self._attempts.begin([key])
        try:
            if n_deaths >= MOST_DEATHS:
                return self._given_up(item, n_deaths)
            return self._do([item], n_deaths)[0]
        finally:
            self._attempts.end([key])

    def _do(self, items: Sequence[Item], n_deaths: int) -> list[Outcome]:
        try:
            model = self._loaded()
        except Exception as error:  # whatever is wrong with this machine
            return [self._failure(item, error, status=UNSERVED) for item in items]
        outcomes: dict[str, Outcome] = {}
        together: dict[str | None, list[_Opened]] = defaultdict(list)  # by language
        with ExitStack() as stack:
            for item in items:
                try:
                    opened = self._open(item, model, stack)
                    if (known := opened.records.result()) is not None:
                        outcomes[item.key] = self._written(opened, known, 0.0)
                    elif item.n_parts == 1 and self._job.files_at_once > 1:
                        together[item.language].append(opened)
                    else:
                        outcomes[item.key] = self._alone(model, opened, n_deaths)
                except Exception as error:  # a row never fails the others
                    outcomes[item.key] = self._failure(item, error)
            for group in together.values():
                outcomes |= self._side_by_side(model, group, n_deaths)
        return [outcomes[item.key] for item in items]

    def _loaded(self) -> Model:
        if self._model is None:
            if self._failed is not None and time.monotonic() - self._failed[0] < _LOAD_AGAIN:
                raise self._failed[1]
            try:
                self._model = self._load()
                self._model.check(self._job.options)
            except Exception as error:
                self._model, self._failed = None, (time.monotonic(), error)
                raise
        return self._model

    def _open(self, item: Item, model: Model, stack: ExitStack) -> _Opened:
        """Find the recording, and know it by its bytes.

        Raises:
            AudioError: it can't be had.
        """
        audio: str | FileIO
        if is_remote(item.source):
            version = item.version or _version(item.source)
            audio = temporary_file(stack, shown_source(item.source))
            spool_url(item.source, audio)
            audio.seek(0)
            content = hashlib.file_digest(audio, "sha256").hexdigest()
            audio.seek(0)
        else:
            audio = local_path(item.source)
            content, version = _known_file(audio)
        weights = {"sha256": sha256_of(model.weights) if model.weights else None, "target": model.target}
        records = Records(self._folder, self._job.digest(item), content, json.dumps(weights, sort_keys=True))
        return _Opened(item, audio, self._job.options_for(item), records, version)

    def _alone(self, model: Model, opened: _Opened, n_deaths: int) -> Outcome:
        """Do one recording, or one of its parts, in less memory where a worker died over it or memory runs out."""
        start = time.monotonic()
        windows = max(opened.options.batch_size >> n_deaths, 1)
        while True:
            try:
                result = self._result(model, opened, windows)
                break
            except MemoryError:
                if windows == 1:
                    raise
                windows //= 2
        elapsed = time.monotonic() - start
        if result is None:
            return self._outcome(opened, PART, elapsed)
        return self._kept(opened, result, elapsed)

    def _result(self, model: Model, opened: _Opened, windows: int) -> TranscriptionResult | None:
        """The transcript of a recording; None where other parts of it are still to come."""
        item = opened.item

        def whole(journal: Path | None) -> TranscriptionResult:
            return model.transcribe(
                opened.audio,
                journal=journal,
                resume=journal is not None,
                max_windows=windows,
                options=opened.options,
            )

        if item.n_parts == 1:
            return _with_journal(opened.journal, whole)
        if opened.records.part(item.part, item.n_parts) is None:
            with tempfile.TemporaryDirectory(prefix="whisper_max-") as folder:
                journal = opened.journal or Path(folder) / "part.jsonl"
                _do_part(model, opened, journal, windows)
                opened.records.keep_part(item.part, item.n_parts, journal.read_bytes())
                journal.unlink()
        parts = [opened.records.part(part, item.n_parts) for part in range(item.n_parts)]
        if None in parts:
            # Another worker may have joined them, and removed them, since this one looked.
            return opened.records.result()
        _rewind(opened.audio)
        with tempfile.TemporaryDirectory(prefix="whisper_max-") as folder:
            paths = [Path(folder) / f"{number}.jsonl" for number in range(item.n_parts)]
            for path, content in zip(paths, parts, strict=True):
                path.write_bytes(content or b"")
            joined = Path(folder) / "joined.jsonl"
            try:
                join_journals(paths, joined)
                return whole(joined)
            except JournalError:  # parts of machines that compute otherwise: all of it is done by this one
                _rewind(opened.audio)
                return whole(None)

    def _side_by_side(self, model: Model, group: Sequence[_Opened], n_deaths: int) -> dict[str, Outcome]:
        """Do whole recordings in one batch; those whose journal is in the way alone."""
        last, size = time.monotonic(), max(self._job.files_at_once >> n_deaths, 1)
        outcomes: dict[str, Outcome] = {}
        while len(outcomes) < len(group):
            waiting = [opened for opened in group if opened.item.key not in outcomes]
            journals = {id(opened.audio): opened.journal for opened in waiting}
            try:
                for outcome in model.transcribe_many(
                    [opened.audio for opened in waiting],
                    batch_size=size,
                    journal=lambda audio, journals=journals: journals[id(audio)],  # type: ignore[misc]
                    resume=True,
                    options=waiting[0].options,
                ):
                    opened = waiting[outcome.index]
                    try:
                        if isinstance(outcome.error, JournalError):
                            _rewind(opened.audio)
                            outcomes[opened.item.key] = self._alone(model, opened, n_deaths)
                        else:
                            before, last = last, time.monotonic()  # all seconds of the batch, each counted once
                            outcomes[opened.item.key] = self._kept(opened, outcome.value(), last - before)
                    except Exception as error:  # a row never fails the others
                        outcomes[opened.item.key] = self._failure(opened.item, error)
            except MemoryError as error:
                if size == 1:
                    for opened in waiting:
                        outcomes.setdefault(opened.item.key, self._failure(opened.item, error))
                size = max(size // 2, 1)
                for opened in waiting:
                    _rewind(opened.audio)
            except Exception as error:  # what is wrong with the options, or with this program
                for opened in waiting:
                    outcomes.setdefault(opened.item.key, self._failure(opened.item, error))
        return outcomes

    def _kept(self, opened: _Opened, result: TranscriptionResult, elapsed: float) -> Outcome:
        """Keep a new transcript: first as a record, so that all that follows can be done again from it."""
        opened.records.keep_result(result)
        outcome = self._written(opened, result, elapsed)
        if opened.item.n_parts > 1:
            opened.records.drop_parts(opened.item.n_parts)
        if (journal := opened.journal) is not None:
            with suppress(OSError):
                journal.unlink(missing_ok=True)
        return outcome

    def _written(self, opened: _Opened, result: TranscriptionResult, elapsed: float) -> Outcome:
        paths = {format: place(path) for format, path in opened.item.transcripts.items()}
        write_result(result, paths, self._job.layout)
        return replace(
            self._outcome(opened, DONE, elapsed),
            text=result.text,
            language=result.language,
            duration=result.duration,
            warnings=[warning.message for warning in result.warnings],
        )

    def _outcome(self, opened: _Opened, status: str, elapsed: float) -> Outcome:
        return replace(
            _blank(opened.item, status, self._job.digest(opened.item), self._node),
            elapsed=elapsed,
            content=opened.records.content,
            version=opened.version,
        )

    def _failure(self, item: Item, error: Exception, status: str = FAILED) -> Outcome:
        """What went wrong with a row, named by its source and without what an address may hold of secrets."""
        message = str(error)
        if isinstance(error, WhisperMaxError) and scheme(item.source) is not None:
            shown = shown_source(item.source)
            message = str(WhisperMaxError(error.what, where=shown, expected=error.expected, found=error.found))
        kind = type(error).__name__
        return replace(
            _blank(item, status, self._job.digest(item), self._node),
            error_kind=kind,
            error=as_text(" ".join((message or kind).split())[:1000]),
        )

    def _given_up(self, item: Item, n_deaths: int) -> Outcome:
        message = f"{item.shown}: {n_deaths} workers died over it, the last with the smallest batch"
        return replace(self._failure(item, WhisperMaxError(message)), error_kind="WorkerDied", error=message)


def _blank(item: Item, status: str, options: str, node: str) -> Outcome:
    return Outcome(
        id=item.id,
        source=item.shown,
        status=status,
        transcripts=item.shown_transcripts,
        version=item.version,
        options=options,
        node=node,
        part=item.part,
        n_parts=item.n_parts,
    )


def _known_file(path: str) -> tuple[str, str]:
    """The SHA-256 of a file, and what changes when it changes.

    Raises:
        AudioError: it is not there, no file, or can't be read.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise AudioError("not a file", where=path)
    try:
        with open(path, "rb", buffering=0) as file:
            about = os.fstat(file.fileno())
            return hashlib.file_digest(file, "sha256").hexdigest(), file_version(about)
    except FileNotFoundError as error:
        raise AudioError("no such file", where=path) from error
    except (OSError, ValueError) as error:
        raise AudioError("can't be read", where=path, found=getattr(error, "strerror", error)) from error


def file_version(about: os.stat_result) -> str:
    """What changes when a file of this machine changes."""
    return f"{about.st_size} {about.st_mtime_ns}"


def _version(uri: str) -> str:
    try:
        return found_at(uri).version
    except OSError:  # the web need not say; reading it will tell whether it is there
        return ""


def _rewind(audio: str | FileIO) -> None:
    if not isinstance(audio, str):
        audio.seek(0)


def _do_part(model: Model, opened: _Opened, journal: Path, windows: int) -> None:
    """Do a part into its journal, going on from one that is there."""
    part, n_parts = opened.item.part, opened.item.n_parts

    def do(resume: bool) -> None:
        model.transcribe_part(
            opened.audio, part, n_parts, journal, resume=resume, max_windows=windows, options=opened.options
        )

    try:
        do(True)
    except JournalError:  # of a run before, and of no use
        _rewind(opened.audio)
        journal.unlink(missing_ok=True)
        do(False)


def _with_journal(journal: Path | None, work: Callable[[Path | None], T]) -> T:
    """Work that goes on from a journal, without it where it is in another's hands or of no use."""
    try:
        return work(journal)
    except JournalError:
        return work(None)
