"""From a path, a URL, standard input or a file object to a file that can be read anywhere."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from io import FileIO
from typing import BinaryIO

from whisper_max.audio.spool import temporary_file, write_all
from whisper_max.errors import AudioError
from whisper_max.files.remote import is_remote, local_path, read_blocks, shown_source

STDIN = "-"

_COPY_BYTES = 1 << 16
_LARGEST_REMOTE = 16 << 30  # bytes; a stream that never ends must not fill the disk


def open_file(source: str | os.PathLike[str] | BinaryIO, stack: ExitStack) -> tuple[FileIO, str]:
    """The source as a seekable file opened unbuffered, and its name for errors."""
    if isinstance(source, str | os.PathLike):
        if source == STDIN:
            if sys.stdin is None or sys.stdin.isatty():
                raise AudioError("no audio", where="standard input", hint="pipe a file into it")
            return _spool_bytes(sys.stdin.buffer, "standard input", stack), "standard input"
        where = os.fspath(source)
        if isinstance(where, str) and is_remote(where):
            spool = temporary_file(stack, shown_source(where))
            spool_url(where, spool)
            return spool, shown_source(where)
        where = local_path(where) if isinstance(where, str) else where
        file = _open_path(where, stack)
        return (file if file.seekable() else _spool_bytes(file, where, stack)), where
    if not hasattr(source, "read"):
        raise AudioError(
            "not a source of audio",
            expected="a path, '-', a binary file object or a NumPy array",
            found=type(source).__name__,
        )
    where = str(getattr(source, "name", type(source).__name__))
    if getattr(source, "closed", False):
        raise AudioError("closed", where=where, expected="a file that is open")
    if isinstance(source, FileIO) and source.readable() and source.seekable() and source.tell() == 0:
        return source, where
    return _spool_bytes(source, where, stack), where


def spool_url(
    url: str,
    spool: FileIO,
    largest: int = _LARGEST_REMOTE,
    allowed_hosts: Collection[str] | None = None,
    watch: Callable[[int], object] = lambda n_bytes: None,
) -> int:
    """Copy what a URL leads to into a file.

    Args:
        url: of a recording.
        spool: takes its bytes.
        largest: the most that are taken.
        allowed_hosts: of the web, those that may be asked; None: any.
        watch: called with the bytes so far, before they are written; what it raises ends it.

    Returns:
        its bytes.

    Raises:
        AudioError: it is not there, the store refuses, or it is too large or more than there is room for.
        OptionError: the store takes a package that is not installed.
    """
    where, n_bytes = shown_source(url), 0
    blocks = read_blocks(url, allowed_hosts)
    while True:
        try:
            block = next(blocks, None)
        except OSError as error:
            what = "no such file" if error.errno == errno.ENOENT else "can't be read"
            found = None if error.errno == errno.ENOENT else error.strerror or error
            raise AudioError(what, where=where, found=found) from error
        if block is None:
            return n_bytes
        n_bytes += len(block)
        if n_bytes > largest:
            raise AudioError("too large", where=where, expected=f"at most {largest >> 20} MiB")
        watch(n_bytes)
        try:
            write_all(spool, block)
        except OSError as error:
            raise AudioError("can't be copied to a temporary file", where=where, found=error.strerror) from error


def _open_path(path: str, stack: ExitStack) -> FileIO:
    try:
        return stack.enter_context(open(path, "rb", buffering=0))
    except FileNotFoundError as error:
        raise AudioError("no such file", where=path) from error
    except IsADirectoryError as error:
        raise AudioError("a folder, not an audio file", where=path) from error
    except OSError as error:
        raise AudioError("can't be opened", where=path, found=error.strerror) from error
    except ValueError as error:  # a NUL in the name
        raise AudioError("not a file name", where=repr(path), found=error) from error


def _spool_bytes(source: BinaryIO | FileIO, where: str, stack: ExitStack) -> FileIO:
    spool = temporary_file(stack, where)
    while content := _next_bytes(source, where):
        try:
            write_all(spool, content)
        except OSError as error:
            raise AudioError("can't be copied to a temporary file", where=where, found=error.strerror) from error
    return spool


def _next_bytes(source: BinaryIO | FileIO, where: str) -> bytes:
    try:
        block = source.read(_COPY_BYTES)
    except OSError as error:
        raise unreadable(error, where) from error
    except UnicodeDecodeError as error:
        raise _opened_as_text("bytes that are none", where) from error
    except ValueError as error:  # what a file object of others says of its state, as being closed
        raise AudioError("can't be read", where=where, found=error) from error
    if isinstance(block, bytes | bytearray | memoryview):
        return bytes(block)
    raise _opened_as_text(type(block).__name__, where)


def _opened_as_text(found: str, where: str) -> AudioError:
    return AudioError("opened as text", where=where, expected="a file opened in binary mode", found=found)


def unreadable(error: OSError, where: str) -> AudioError:
    """The error of a file that the disk, or a demuxer that looks beyond it, refuses."""
    return AudioError("can't be read, or damaged", where=where, found=error.strerror or error)
