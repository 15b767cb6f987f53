"""The results of a job: rows in files of their own, written as they come, each whole or not there, no row twice."""

from __future__ import annotations

import fcntl
import io
import json
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whisper_max.batch.job import Outcome
from whisper_max.batch.records import FOLDER
from whisper_max.errors import OptionError, OutputError
from whisper_max.files.remote import Place, RemotePath, find_below
from whisper_max.output import check_writable
from whisper_max.output.files import write_whole

RESULTS = "results"
"""The folder of the rows, in that of the job's output."""
KINDS = ("jsonl", "parquet")
_ROWS, _SECONDS = 500, 10.0  # most rows, and most seconds, that wait for their file


class Results:
    """The rows of a job's output folder.

    Args:
        output: the folder; made when missing.
        kind: ``jsonl`` or ``parquet``.
        say: told of what is wrong with what is there.

    Raises:
        OutputError: another job writes there, or it can't be read.
        OptionError: parquet without its package.
    """

    def __init__(self, output: Place, kind: str, say: Callable[[str], object]) -> None:
        if kind == "parquet":
            _parquet()
        self._folder = output / RESULTS
        self._kind = kind
        self._waiting: list[Outcome] = []
        self._written = time.monotonic()
        self._number = 0
        self._say = say
        self._refused: str | None = None
        self._files: dict[str, list[Outcome]] = {}  # by name
        check_writable(self._folder / f"rows.{kind}")
        with ExitStack() as unless_ready:
            if isinstance(output, Path):
                _lock(output, unless_ready)
            for name, place in self._listed():
                self._files[name] = _read(place)
            self._stack = unless_ready.pop_all()

    def known(self) -> list[Outcome]:
        """The rows of earlier runs and of this one."""
        return [*(row for rows in self._files.values() for row in rows), *self._waiting]

    def drop(self, rows: Iterable[Outcome]) -> None:
        """Take out rows whose recordings are about to be done again.

        Raises:
            OutputError: a file can't be written.
        """
        dropped = {id(row) for row in rows}
        self._waiting = [row for row in self._waiting if id(row) not in dropped]
        for name, before in self._files.items():
            kept = [row for row in before if id(row) not in dropped]
            if len(kept) < len(before):
                self._files[name] = kept
                self._write(name, kept)

    def add(self, row: Outcome) -> None:
        """Take a row; it is in a file in a few seconds."""
        self._waiting.append(row)
        self.flush(soon=True)

    def flush(self, *, soon: bool = False) -> bool:
        """Write what waits; False where it can't be, which is said once, and is tried again with the next rows.

        soon: only where enough rows wait, or one for long enough.
        """
        late = time.monotonic() - self._written > _SECONDS
        if not self._waiting or (soon and len(self._waiting) < _ROWS and not late):
            return not self._waiting
        self._number += 1
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        name = f"{stamp}-{time.time_ns() % 10**9:09d}-{self._number:05d}.{self._kind}"
        self._written = time.monotonic()
        try:
            self._write(name, self._waiting)
        except OutputError as error:
            if self._refused != str(error.found):
                self._refused = str(error.found)
                self._say(f"error: {error}; the transcripts are written all the same, and rows wait for room")
            return False
        self._refused = None
        self._files[name], self._waiting = self._waiting, []
        return True

    @property
    def n_waiting(self) -> int:
        """Rows that are in no file yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Let another job write there."""
        self._stack.close()

    def _listed(self) -> list[tuple[str, Place]]:
        suffixes = tuple(f".{kind}" for kind in KINDS)
        try:
            if isinstance(self._folder, RemotePath):
                named = [(Path(found.uri).name, RemotePath(found.uri)) for found in find_below(self._folder.uri)]
                return [each for each in named if each[0].endswith(suffixes)]
            if not self._folder.is_dir():
                return []
            return [(path.name, path) for path in sorted(self._folder.iterdir()) if path.name.endswith(suffixes)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError("can't be read", where=self._folder, found=error.strerror or error) from error

    def _write(self, name: str, rows: list[Outcome]) -> None:
        path = self._folder / name
        if rows:
            write_whole(path, _as_parquet(rows) if name.endswith("parquet") else _as_jsonl(rows))
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def _lock(output: Path, stack: ExitStack) -> None:
    """Keep other jobs of this machine away from the folder, as long as the stack."""
    path = output / FOLDER / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(path.open("ab"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError("another batch is writing here", where=output) from error
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error


def _as_jsonl(rows: list[Outcome]) -> bytes:
    """A JSON object a line; what is JSON inside a column is no text here."""
    lines = []
    lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


_NESTED = ("transcripts", "warnings")
"""Columns that are JSON in a table: what types they had would depend on the rows of each file."""


def _as_parquet(rows: list[Outcome]) -> bytes:
    pa, pq = _parquet()
    file = io.BytesIO()
    nested = [{name: json.dumps(getattr(row, name), ensure_ascii=False) for name in _NESTED} for row in rows]
    table = pa.Table.from_pylist([asdict(row) | values for row, values in zip(rows, nested, strict=True)])
    pq.write_table(table, file)
    return file.getvalue()


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise OptionError("parquet takes the package pyarrow", hint='pip install "whisper-max[ray]"') from None
    return pyarrow, parquet


def _read(place: Place) -> list[Outcome]:
    """The rows of a file.

    Raises:
        OutputError: it can't be read, or is no file of results.
    """
    try:
        content = place.read_bytes()
        if place.name.endswith("parquet"):
            _, pq = _parquet()
            table = pq.read_table(io.BytesIO(content)).to_pylist()
            return [Outcome.from_row({**row, **{name: json.loads(row[name]) for name in _NESTED}}) for row in table]
        return [Outcome.from_row(json.loads(line)) for line in content.split(b"\n") if line.strip()]
    except OSError as error:
        raise OutputError("can't be read", where=place, found=error.strerror or error) from error
    except (ValueError, TypeError, KeyError, LookupError) as error:
        hint = "move it elsewhere"
        raise OutputError("not a file of results", where=place, found=type(error).__name__, hint=hint) from error
