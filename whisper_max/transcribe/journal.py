"""The journal of a transcription: what was done so far, so that a run that was cut off goes on where it stopped.

A file of JSON lines. The first says what the transcript depends on; each further one is what a window's decoding
amounts to, written before it is accepted. Giving these to the recording again brings it to the state it was in, so no
state is stored. Each line holds the CRC-32 of the file up to there, and is on the disk before the next window begins.
Only a last line without its newline can come from a run that was cut off; it is left out. Any other damage, and a
first line of another recording, model or set of options, is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.errors import JournalError, OutputError
from whisper_max.transcribe.journal_records import is_possible, value_from_json
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.window import Cut
from whisper_max.version import VERSION

if TYPE_CHECKING:
    from whisper_max.transcribe.channels import AnyRecording

FORMAT = 2
"""Of the file; raised when a line changes its meaning."""

_MAGIC = b'{"journal": '  # how every journal begins
_LINE = re.compile(rb'(\{.*), "crc32": "([0-9a-f]{8})"\}\n')
_BLOCK = 60 * SAMPLE_RATE  # samples hashed at a time
_SHOWN = 60  # characters of a value in a message
_MOST_TOLD = 5  # differences
_START_OVER = "start over without resume, or remove the journal"


class Journal:
    """A journal, open for one run; no other run can open it meanwhile.

    Args:
        path: the file; its folder is made when missing.
        header: what the transcript depends on, JSON-serialisable: ``audio_identity``, the model, the options.
        resume: go on from what the file holds, if there is any; else it is emptied.

    Attributes:
        cuts: what an earlier run had done, in order; none without ``resume``.

    Raises:
        JournalError: with ``resume``, a journal that is damaged or of something else; another run has it open; the
            path is of a file that is no journal.
        OutputError: the file can't be read or written, or the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], header: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = Path(path)
        self.cuts: list[Cut] = []
        self._checksum = 0
        header = {"journal": FORMAT, "whisper_max": VERSION, **header}
        self._file = _open_locked(self.path)
        with ExitStack() as unless_ready:
            unless_ready.callback(self._file.close)
            lines = _whole_lines(self.path, self._file) if resume else []
            self._truncate(sum(len(line) for line in lines))
            if lines:
                self._read(lines, header)
            else:
                self._append(header)
            unless_ready.pop_all()  # the file stays open

    def append(self, cut: Cut) -> None:
        """Write what a window's decoding amounts to; on the disk when this returns.

        Raises:
            OutputError: the file can't be written, or the disk is full; the lines before are as they were.
        """
        self._append(asdict(cut))

    def replay(self, recording: AnyRecording) -> list[Segment]:
        """Do again what the journal holds, and write what comes after it here.

        Returns:
            the segments, as ``commit`` of the recording.

        Raises:
            JournalError: the journal's windows are not those of this transcription.
        """
        segments: list[Segment] = []
        for number, cut in enumerate(self.cuts, start=1):
            if not 0 <= cut.window.channel < len(recording.channels):
                raise JournalError(f"window {number} is of no channel", where=self.path)
            channel = recording.channels[cut.window.channel]
            piece = next((piece for piece in channel.pieces if piece.next_window() == cut.window), None)
            if piece is None:
                raise JournalError(f"window {number} does not follow from those before", where=self.path)
            if not is_possible(cut, channel.mel.n_frames, channel.tokenizer):
                raise JournalError(f"window {number} is not one of this model's", where=self.path)
            segments += recording.commit(piece, cut)
        for channel in recording.channels:
            channel.journal = self
        return segments

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._file.close()

    def _read(self, lines: list[bytes], header: Mapping[str, Any]) -> None:
        """Check every line, and that the first is this transcription's; take the others as cuts."""
        found, self.cuts, self._checksum = _parsed(self.path, lines)
        _check_header(self.path, found, json.loads(json.dumps(header)))

    def _append(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record).encode("ascii")[:-1]
        checksum = zlib.crc32(text, self._checksum)
        line = memoryview(b'%s, "crc32": "%08x"}\n' % (text, checksum))
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError("can't be written", where=self.path, found=error.strerror or error) from error
        self._checksum = checksum

    def _truncate(self, size: int) -> None:
        try:
            self._file.truncate(size)
        except OSError as error:
            raise OutputError("can't be written", where=self.path, found=error.strerror or error) from error


def join_journals(parts: Sequence[Path], whole: Path) -> None:
    """Make one journal of those of a recording's parts, for ``Model.transcribe`` to go on from.

    Args:
        parts: in order; of the same recording, model and options.
        whole: the journal to write; it is emptied first.

    Raises:
        JournalError: a part is damaged, or of something else than the first.
        OutputError: a file can't be read or written.
    """
    header: dict[str, Any] | None = None
    cuts: list[Cut] = []
    for path in parts:
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise OutputError("can't be read", where=path, found=error.strerror or error) from error
        found, of_part, _ = _parsed(path, lines)
        if header is None:
            header = found
        _check_header(path, found, header)
        cuts += of_part
    with closing(Journal(whole, header or {})) as journal:
        for cut in cuts:
            journal.append(cut)


def _parsed(path: Path, lines: list[bytes]) -> tuple[dict[str, Any], list[Cut], int]:
    """What a journal says first, its cuts, and the CRC-32 of it all."""
    header: dict[str, Any] = {}
    cuts: list[Cut] = []
    checksum = 0
    for number, line in enumerate(lines, start=1):
        try:
            record, checksum = _record(line, checksum)
            if number == 1:
                header = record
            else:
                cuts.append(value_from_json(Cut, record))
        except (ValueError, RecursionError) as error:
            found = str(error)[:80] or None
            raise JournalError("damaged", where=f"{path}, line {number}", found=found, hint=_START_OVER) from error
    return header, cuts, checksum


def _record(line: bytes, checksum: int) -> tuple[dict[str, Any], int]:
    """What a line holds, and the CRC-32 up to its end; raises ValueError, without a word where it is not whole.

    checksum: of the lines before.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError
    checksum = zlib.crc32(match[1], checksum)
    if int(match[2], 16) != checksum:
        raise ValueError
    record: dict[str, Any] = json.loads(match[1] + b"}")
    return record, checksum


def audio_identity(*channels: Waveform) -> dict[str, object]:
    """What tells a recording from every other: its length in samples at 16 kHz, and their SHA-256.

    Of several channels that of all of them, one after the other.

    Of the samples that are transcribed, so it is the same for a file that was copied or touched, for standard input
    and for arrays, and another where anything about decoding or resampling changed.

    Raises:
        AudioError: a spooled recording can't be read back.
    """
    digest = hashlib.sha256()
    for waveform in channels:
        for start in range(0, waveform.n_samples, _BLOCK):
            digest.update(waveform.read(start, start + _BLOCK).astype("<f4", copy=False).tobytes())
    return {"n_samples": sum(waveform.n_samples for waveform in channels), "sha256": digest.hexdigest()}


def _open_locked(path: Path) -> FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by the journal
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.seek(0)
        start = file.read(len(_MAGIC))
    except BlockingIOError as error:
        file.close()
        raise JournalError("another run is writing this journal", where=path) from error
    except OSError as error:
        file.close()
        raise OutputError("can't be locked and read", where=path, found=error.strerror or error) from error
    if start != _MAGIC[: len(start)]:
        file.close()
        raise JournalError("there is a file that is no journal", where=path, hint="choose another path")
    return file


def _whole_lines(path: Path, file: FileIO) -> list[bytes]:
    """The lines of a file but a last one without a newline, at which a run was cut off."""
    try:
        file.seek(0)
        lines = file.readall().splitlines(keepends=True)
    except OSError as error:
        raise OutputError("can't be read", where=path, found=error.strerror or error) from error
    return lines[:-1] if lines and not lines[-1].endswith(b"\n") else lines


def _check_header(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    ours, theirs = dict(_flat(expected)), dict(_flat(found))
    differences = [
        f"{name[:_SHOWN]} was {_short(theirs.get(name))}, is {_short(ours.get(name))}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if differences:
        told = "; ".join(differences[:_MOST_TOLD])
        more = f"; {len(differences) - _MOST_TOLD} more" if len(differences) > _MOST_TOLD else ""
        raise JournalError(f"of another transcription: {told}{more}", where=path, hint=_START_OVER)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by names with dots."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield prefix + name, item


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
