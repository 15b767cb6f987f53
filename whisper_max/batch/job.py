"""What a job does with each recording, and what each recording is: plain values that travel to workers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whisper_max.errors import OptionError
from whisper_max.files.remote import shown_source
from whisper_max.output import WriterOptions
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.version import VERSION

_OF_ANSWER = ("model", "device", "compute_type", "lora")
"""Of the arguments of ``load_model``, those that the transcript depends on."""
SURELY_SHORT = 1 << 20
"""Bytes of a recording: half an hour of speech takes more in any format that is in use."""


@dataclass(frozen=True)
class Job:
    """What is done with each recording, and where.

    output: the folder of transcripts and results, a path or a URL. model: the arguments of ``load_model``. options: of
    each transcription. formats: of the transcripts. layout: of words in subtitles. files_at_once: recordings that a
    worker decodes side by side. part_minutes: about how many minutes a part of a long recording has.
    """

    output: str
    model: Mapping[str, Any] = field(default_factory=dict)
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    formats: tuple[str, ...] = ("json",)
    layout: WriterOptions = field(default_factory=WriterOptions)
    files_at_once: int = 1
    part_minutes: float = 30.0

    def __post_init__(self) -> None:
        if self.options.speaker_file is not None:
            what = "can't be written by several workers at once"
            raise OptionError(what, where="speaker_file", hint="transcribe writes it")

    @property
    def can_split(self) -> bool:
        """Whether long recordings may be done in parts: only where they are cut into pieces that need nothing of each
        other."""
        return self.options.parts_apart

    def options_for(self, item: Item) -> TranscribeOptions:
        """The options of one recording, which may have a language of its own."""
        return self.options if item.language is None else replace(self.options, language=item.language)

    def digest(self, item: Item) -> str:
        """What a recording's transcript depends on besides its bytes."""
        model = {name: self.model[name] for name in _OF_ANSWER if self.model.get(name) is not None}
        says = {"whisper_max": VERSION, "model": model, "options": self.options_for(item).to_dict()}
        return hashlib.sha256(json.dumps(says, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Item:
    """One recording of a job, or one of its parts.

    id: of the recording. source: its path or URL. transcripts: a path or URL for each format. version: what changes
    when the recording changes, where that is known without reading it. size: bytes, 1 where that isn't known. language:
    its own, else that of the options. part: from 0, of n_parts.
    """

    id: int
    source: str
    transcripts: Mapping[str, str]
    version: str = ""
    size: int = 1
    language: str | None = None
    part: int = 0
    n_parts: int = 1

    @property
    def key(self) -> str:
        """What tells it from every other row of the job."""
        return f"{self.id}/{self.part}"

    @property
    def shown(self) -> str:
        """Its source as results name it: without secrets, and as text where the name of a file is none."""
        return as_text(shown_source(self.source))

    @property
    def shown_transcripts(self) -> dict[str, str]:
        """The names of its transcripts, likewise."""
        return {format: as_text(shown_source(path)) for format, path in self.transcripts.items()}


def as_text(name: str) -> str:
    """A name whose bytes may be no UTF-8, these as they are told: tables hold nothing but text."""
    return name.encode("utf-8", "backslashreplace").decode()


DONE, FAILED, PART = "done", "failed", "part"
"""What became of a row; a part that is done says only that."""


@dataclass(frozen=True)
class Outcome:
    """What became of a recording: a row of the results.

    id: of the item. source: as results may name it, without secrets. status: done, failed or part. error_kind: the
    class of the error. error: its message, one line. transcripts: names for each format. language: found or given.
    duration: seconds of audio. elapsed: seconds of work. warnings: one line each. content: SHA-256 of
    the recording. version: as the item has it. options: the digest of what else the transcript depends on. node: where
    it was done. part, n_parts: as the item has them; of a whole recording, the part that came last.
    """

    id: int
    source: str
    status: str
    error_kind: str = ""
    error: str = ""
    text: str = ""
    transcripts: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    duration: float = 0.0
    elapsed: float = 0.0
    warnings: Sequence[str] = field(default_factory=list)
    content: str = ""
    version: str = ""
    options: str = ""
    node: str = ""
    part: int = 0
    n_parts: int = 1

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Outcome:
        """The outcome of a row of results; columns that are not known are left out."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})
