"""Jobs on disk: a table (SQLite) and a file for each recording that waits. Both live through a kill at any moment."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from whisper_max.errors import OptionError

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
MOST_ATTEMPTS = 3
"""How often a job is begun: one with which the server ended each time is not begun again."""
_VERSION = 1
_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, status TEXT NOT NULL,
  file_name TEXT NOT NULL, n_bytes INTEGER NOT NULL, fields TEXT NOT NULL,
  created REAL NOT NULL, started REAL, ended REAL,
  attempts INTEGER NOT NULL DEFAULT 0, error TEXT, media_type TEXT, warnings TEXT, body BLOB, segments TEXT,
  webhook TEXT, tries INTEGER NOT NULL DEFAULT 0, deliver_at REAL, delivered REAL
)
"""
_SEEN = (
    "id, owner, status, file_name, n_bytes, fields, created, started, ended, attempts, error, "
    "webhook, tries, deliver_at, delivered"
)


@dataclass(frozen=True)
class StoredJob:
    """A job as the table has it, without its result; times are Unix times.

    fields: of its form. error: OpenAI's error object with its status. webhook: where it is told when it has ended.
    tries: to tell it. deliver_at: of the next try; None where there is none.
    """

    id: str
    owner: str
    status: str
    file_name: str
    n_bytes: int
    fields: dict[str, list[str]]
    created: float
    started: float | None
    ended: float | None
    attempts: int
    error: dict[str, Any] | None
    webhook: str | None
    tries: int
    deliver_at: float | None
    delivered: float | None


@dataclass(frozen=True)
class Answer:
    """A result. body: as it was asked for. segments: all as a JSON object, with words, language and duration."""

    body: bytes
    media_type: str
    warnings: str | None
    segments: str


class JobStore:
    """The jobs of one server; from any thread.

    Every method raises OSError where the disk is full, or can't be read or written.

    Args:
        folder: theirs alone; it is made where it is not there.

    Raises:
        OptionError: another server has the folder, or what is in it is no list of jobs of this version.
    """

    def __init__(self, folder: Path) -> None:
        self._audio = folder / "audio"
        self._lock = threading.Lock()
        with ExitStack() as stack:
            try:
                self._audio.mkdir(parents=True, exist_ok=True)
                held = stack.enter_context((folder / "lock").open("w"))
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OptionError("another server has this folder", where="jobs", found=folder) from error
            except OSError as error:
                raise OptionError("can't be written", where="jobs", found=error.strerror or error) from error
            self._db = self._open(folder / "jobs.sqlite", stack)
            self._recover()
            self._closing = stack.pop_all()

    def _open(self, path: Path, stack: ExitStack) -> sqlite3.Connection:
        try:
            db = stack.enter_context(closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)))
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise OptionError("jobs of another version", where="jobs", expected=_VERSION, found=version)
            db.execute(_TABLE)
            db.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.Error as error:
            raise OptionError("no list of jobs", where="jobs", found=f"{path}: {error}") from error
        return db

    def _recover(self) -> None:
        """Take up what a server that ended left: jobs begin again, those without their recording can't."""
        with self._write() as db:
            db.execute("UPDATE jobs SET status=? WHERE status=?", (QUEUED, RUNNING))
            waiting = {id for (id,) in db.execute("SELECT id FROM jobs WHERE status=?", (QUEUED,))}
        kept = {path.name for path in self._audio.iterdir()}
        for name in kept - waiting:
            (self._audio / name).unlink()
        for id in waiting - kept:
            self.fail(
                id, 500, {"message": "its recording is gone", "type": "server_error", "param": None, "code": None}
            )

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with _as_os_error(), self._lock, self._db:  # which commits, or rolls back where anything is raised
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _as_os_error(), self._lock:
            return self._db.execute(query, values).fetchall()

    # ---------------------------------------------------------------- in

    def add(self, owner: str, file: FileIO, name: str, fields: dict[str, list[str]], webhook: str | None) -> StoredJob:
        """Keep a recording and what is asked of it; when this returns, both are on the disk.

        Raises:
            OSError: they can't be written.
        """
        id = f"job_{secrets.token_hex(16)}"
        path = self._audio / id
        with ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            n_bytes = _copy(file, path)
            with self._write() as db:
                db.execute(
                    "INSERT INTO jobs (id, owner, status, file_name, n_bytes, fields, created, webhook)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (id, owner, QUEUED, name, n_bytes, json.dumps(fields), time.time(), webhook),
                )
            undo.pop_all()
        return self.get(id)

    # ---------------------------------------------------------------- to be done

    def claim(self) -> StoredJob | None:
        """The job that waits longest, which is running from now on; None where none waits."""
        with self._write() as db:
            row = db.execute("SELECT id FROM jobs WHERE status=? ORDER BY number LIMIT 1", (QUEUED,)).fetchone()
            if row is None:
                return None
            changed = (RUNNING, time.time(), row[0])
            db.execute("UPDATE jobs SET status=?, started=?, attempts=attempts+1 WHERE id=?", changed)
        return self.get(row[0])

    def give_back(self, id: str) -> None:
        """Let a job wait again, as if it had never begun."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET status=?, started=NULL, attempts=attempts-1 WHERE id=? AND status=?",
                (QUEUED, id, RUNNING),
            )

    def open_audio(self, id: str) -> FileIO:
        """The recording of a job that has not ended."""
        return FileIO(self._audio / id)

    def finish(self, id: str, answer: Answer) -> None:
        """Keep a result, and let go of the recording."""
        self._end(id, DONE, "body=?, media_type=?, warnings=?, segments=?", answer)

    def fail(self, id: str, status: int, error: dict[str, Any]) -> None:
        """Keep why there is no result."""
        self._end(id, FAILED, "error=?", json.dumps({"status": status, **error}))

    def _end(self, id: str, status: str, columns: str, kept: Answer | str) -> None:
        values = (kept,) if isinstance(kept, str) else (kept.body, kept.media_type, kept.warnings, kept.segments)
        now = time.time()
        with self._write() as db:
            db.execute(
                f"UPDATE jobs SET status=?, ended=?, deliver_at=CASE WHEN webhook IS NULL THEN NULL ELSE ? END,"
                f" {columns} WHERE id=?",
                (status, now, now, *values, id),
            )
        (self._audio / id).unlink(missing_ok=True)

    # ---------------------------------------------------------------- out

    def get(self, id: str) -> StoredJob:
        """A job.

        Raises:
            KeyError: there is none.
        """
        rows = self._read(f"SELECT {_SEEN} FROM jobs WHERE id=?", (id,))
        if not rows:
            raise KeyError(id)
        return _stored(rows[0])

    def newest(self, owner: str, limit: int, after: str | None = None) -> list[StoredJob]:
        """Jobs of an owner, the newest first; those before a job of theirs, where one is named."""
        before = "AND number < (SELECT number FROM jobs WHERE id=? AND owner=?)" if after is not None else ""
        values = (owner, *((after, owner) if after is not None else ()), limit)
        rows = self._read(f"SELECT {_SEEN} FROM jobs WHERE owner=? {before} ORDER BY number DESC LIMIT ?", values)
        return [_stored(row) for row in rows]

    def answer(self, id: str) -> Answer:
        """The result of a job that is done.

        Raises:
            KeyError: there is none, as where the job was deleted meanwhile.
        """
        rows = self._read("SELECT body, media_type, warnings, segments FROM jobs WHERE id=? AND status=?", (id, DONE))
        if not rows:
            raise KeyError(id)
        return Answer(*rows[0])

    @property
    def n_unfinished(self) -> int:
        """Jobs that have not ended."""
        return int(self._read("SELECT count(*) FROM jobs WHERE status IN (?, ?)", (QUEUED, RUNNING))[0][0])

    @property
    def n_bytes(self) -> int:
        """Bytes of recordings that wait and of results."""
        [(waiting,)] = self._read(
            "SELECT coalesce(sum(n_bytes), 0) FROM jobs WHERE status IN (?, ?)", (QUEUED, RUNNING)
        )
        [(kept,)] = self._read(
            "SELECT coalesce(sum(length(body) + length(segments)), 0) FROM jobs WHERE status=?", (DONE,)
        )
        return int(waiting + kept)

    # ---------------------------------------------------------------- webhooks

    def due(self) -> list[StoredJob]:
        """Jobs that have ended and are to be told now."""
        rows = self._read(f"SELECT {_SEEN} FROM jobs WHERE deliver_at <= ? ORDER BY deliver_at", (time.time(),))
        return [_stored(row) for row in rows]

    def told(self, id: str) -> None:
        """A job was told."""
        with self._write() as db:
            db.execute("UPDATE jobs SET tries=tries+1, deliver_at=NULL, delivered=? WHERE id=?", (time.time(), id))

    def not_told(self, id: str, again_in: float | None) -> None:
        """A job could not be told; None: it is given up."""
        at = None if again_in is None else time.time() + again_in
        with self._write() as db:
            db.execute("UPDATE jobs SET tries=tries+1, deliver_at=? WHERE id=?", (at, id))

    # ---------------------------------------------------------------- away

    def delete(self, id: str) -> None:
        """Forget a job with all that is kept of it."""
        with self._write() as db:
            db.execute("DELETE FROM jobs WHERE id=?", (id,))
        (self._audio / id).unlink(missing_ok=True)

    def expire(self, seconds: float) -> int:
        """Forget jobs that ended so long ago; returns how many."""
        with self._write() as db:
            return db.execute("DELETE FROM jobs WHERE ended < ?", (time.time() - seconds,)).rowcount

    def close(self) -> None:
        """Let another server have the folder."""
        with self._lock:
            self._closing.close()


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Say of SQLite's errors what they are here: the disk's."""
    try:
        yield
    except sqlite3.Error as error:
        number = errno.ENOSPC if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(number, f"the list of jobs can't be read or written: {error}") from error


def _stored(row: tuple[Any, ...]) -> StoredJob:
    values = dict(zip(_SEEN.split(", "), row, strict=True))
    error = values["error"]
    return StoredJob(**{**values, "fields": json.loads(values["fields"]), "error": error and json.loads(error)})


def _copy(file: FileIO, path: Path) -> int:
    """Copy a file to the disk, so that it is there when this returns; returns its bytes."""
    with path.open("wb") as own:
        shutil.copyfileobj(file, own, 1 << 20)
        own.flush()
        os.fsync(own.fileno())
        n_bytes = own.tell()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)
    return n_bytes
