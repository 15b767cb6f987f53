"""What workers keep beside the transcripts, by content and options: whole results, and journals of parts.

They are why a job that was killed at any moment goes on with what is missing: before a recording is done, its worker
looks here. Every object is whole or not there, and two workers that write the same one write the same.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass
from typing import Any

from whisper_max.audio.warnings import AudioWarning
from whisper_max.errors import OutputError
from whisper_max.files.remote import Place
from whisper_max.output.files import write_whole
from whisper_max.transcribe.journal_records import value_from_json
from whisper_max.transcribe.result import Segment, TranscriptionResult

FOLDER = ".whisper_max"
_FORMAT = 1


@dataclass(frozen=True)
class Records:
    """The records of one recording with one set of options.

    folder: of the job's output. options, content: digests. model: what tells the weights from others of that name.
    """

    folder: Place
    options: str
    content: str
    model: str

    def result(self) -> TranscriptionResult | None:
        """The whole transcript; None where it is not there, of other weights, or damaged."""
        found = _read(self._result)
        if found is None:
            return None
        try:
            record = json.loads(gzip.decompress(found))
            if (record.pop("record"), record.pop("model")) != (_FORMAT, self.model):
                return None
            return _result(record)
        except (ValueError, TypeError, KeyError, OSError, EOFError):
            return None

    def keep_result(self, result: TranscriptionResult) -> None:
        """Keep the whole transcript.

        Raises:
            OutputError: it can't be written.
        """
        record = {"record": _FORMAT, "model": self.model, **asdict(result), "source": None}
        content = gzip.compress(json.dumps(record).encode("ascii"), mtime=0)
        write_whole(self._result, content, flush=False)  # damaged, it is made again

    def part(self, part: int, n_parts: int) -> bytes | None:
        """The journal of a part; None where it is not there."""
        return _read(self._part(part, n_parts))

    def keep_part(self, part: int, n_parts: int, journal: bytes) -> None:
        """Keep the journal of a part.

        Raises:
            OutputError: it can't be written.
        """
        write_whole(self._part(part, n_parts), journal)

    def drop_parts(self, n_parts: int) -> None:
        """Remove the journals of all parts, which the whole transcript makes useless."""
        for part in range(n_parts):
            try:
                self._part(part, n_parts).unlink(missing_ok=True)
            except OSError:  # what is left there harms nobody
                return

    @property
    def _result(self) -> Place:
        return self.folder / FOLDER / self.options / f"{self.content}.json.gz"

    def _part(self, part: int, n_parts: int) -> Place:
        return self.folder / FOLDER / self.options / f"{self.content}.{part + 1}-{n_parts}.journal.jsonl"


def _read(path: Place) -> bytes | None:
    """What is there, or None.

    Raises:
        OutputError: it can't be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError("can't be read", where=path, found=error.strerror or error) from error


def _result(record: dict[str, Any]) -> TranscriptionResult:
    segments = [value_from_json(Segment, segment) for segment in record["segments"]]
    warnings = [value_from_json(AudioWarning, warning) for warning in record["warnings"]]
    dropped = [value_from_json(Segment, segment) for segment in record["dropped"]]
    return TranscriptionResult(**{**record, "segments": segments, "warnings": warnings, "dropped": dropped})
