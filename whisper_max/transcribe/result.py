"""What a transcription returns: plain, typed values with openai-whisper's keys and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whisper_max.audio.warnings import AudioWarning
from whisper_max.transcribe.notebook import as_html
from whisper_max.transcribe.segment import Doubt as Doubt
from whisper_max.transcribe.segment import Segment as Segment
from whisper_max.transcribe.segment import Word as Word


@dataclass
class TranscriptionResult:
    """A whole transcript.

    language: a code; empty where voice activity detection found nothing said and no language was given.
    language_probability: 1.0 where the language was given, 0.0 where it is empty. duration: seconds of audio.
    duration_after_vad: seconds of it that were transcribed, None without voice activity detection. options: the
    effective options, by name, JSON-serialisable. warnings: what of the recording could not be heard as it was meant,
    with its seconds. dropped: segments that the guard left out, with their doubt. source: the file that was
    transcribed, where it was one; a notebook plays it. marked_up: the words are those of a known text, in which tags
    are tags.
    """

    text: str
    segments: list[Segment]
    language: str
    language_probability: float = 1.0
    duration: float = 0.0
    duration_after_vad: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    warnings: list[AudioWarning] = field(default_factory=list)
    dropped: list[Segment] = field(default_factory=list)
    source: Path | None = field(default=None, repr=False, compare=False)
    marked_up: bool = False

    def _repr_html_(self) -> str:
        """The transcript in a notebook: a player, the text, and words that play from where they are said."""
        return as_html(self.segments, self.language, self.duration, self.source)

    def to_dict(self) -> dict[str, Any]:
        """openai-whisper's result dict: ``text``, ``segments``, ``language``; and ``dropped`` where there is any."""
        result: dict[str, Any] = {
            "text": self.text,
            "segments": [segment.to_dict() for segment in self.segments],
            "language": self.language,
        }
        if self.dropped:
            result["dropped"] = [segment.to_dict() for segment in self.dropped]
        return result
