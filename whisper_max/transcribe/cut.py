"""A window to decode, and what its decoding amounts to before it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.decode.result import DecodingResult
from whisper_max.transcribe.result import Segment


@dataclass(frozen=True)
class Window:
    """A window to decode.

    seek: its first mel frame. size: its frames, up to 3000. prompt: the tokens before it.
    """

    seek: int
    size: int
    prompt: tuple[int, ...]

    @property
    def start(self) -> float:
        """Seconds."""
        return self.seek / FRAMES_PER_SECOND

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.size / FRAMES_PER_SECOND


@dataclass
class Cut:
    """What a window's decoding amounts to, before it is committed.

    segments: with times and tokens, ids not yet final. seek: where the next window starts.
    ends_in_silence: True where nothing was said after the last timestamp.
    skipped: True where the window counts for nothing, as silence does.
    """

    window: Window
    result: DecodingResult
    seek: int
    segments: list[Segment] = field(default_factory=list)
    ends_in_silence: bool = False
    skipped: bool = False

    def text_tokens(self, eot: int) -> list[int]:
        """The tokens of the segments' words; ``eot`` is the first id that is none."""
        return [token for segment in self.segments for token in segment.tokens if token < eot]


def end_of_speech(segments: Sequence[Segment]) -> float | None:
    """The end of the last word, or of the last segment where there are no words, in seconds."""
    words = [word for segment in segments for word in segment.words or ()]
    if words:
        return words[-1].end
    return segments[-1].end if segments else None
