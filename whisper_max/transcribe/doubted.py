"""What the guard did with a recording: segments it left out, and loops that windows were decoded again without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.audio.warnings import AudioWarning
from whisper_max.decode.contract import Align, Inference
from whisper_max.decode.loop import Loop
from whisper_max.transcribe.guard import Guard
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.tidy import keep_within
from whisper_max.transcribe.window import Cut, Piece

if TYPE_CHECKING:
    from whisper_max.transcribe.recording import Recording

_SHOWN = 60  # characters of a loop in a message


class Doubted:
    """What is doubted of a recording, by a model."""

    def __init__(self, inference: Inference) -> None:
        self._guard = Guard(inference)
        self._dropped: list[Segment] = []  # with times in the recording

    def judge(self, recording: Recording, piece: Piece, cut: Cut, align: Align) -> None:
        """Set the doubt of a cut's segments; see ``Guard.judge``."""
        self._guard.judge(piece, cut, align, recording.heard)

    def note(self, recording: Recording, cut: Cut) -> None:
        """Keep what a cut left out, and warn of its loops."""
        if recording.speech is not None:
            recording.speech.restore(cut.dropped)
        keep_within(cut.dropped, recording.duration)
        for segment in cut.dropped:
            segment.words = segment.words if recording.options.word_timestamps else None
        self._dropped += cut.dropped
        recording.warnings += [_loop_warning(recording, cut, loop) for loop in cut.result.loops]

    def dropped(self) -> list[Segment]:
        """What was left out, as it comes in the recording, whichever of its pieces were done first."""
        dropped = sorted(self._dropped, key=lambda segment: (segment.start, segment.end, segment.seek))
        for id, segment in enumerate(dropped):
            segment.id = id
        return dropped

    def warnings(self) -> list[AudioWarning]:
        """That text was left out, once, however much there is of it."""
        dropped = self._dropped
        if not dropped:
            return []
        start, end = min(each.start for each in dropped), max(each.end for each in dropped)
        seconds = sum(each.end - each.start for each in dropped)
        what = f"{len(dropped)} segments, {seconds:.1f} s" if len(dropped) > 1 else f"{seconds:.1f} s"
        message = f"{start:.2f} to {end:.2f} s: text of {what} is left out, which the audio does not support"
        return [AudioWarning("dropped", start, end, message)]


def _loop_warning(recording: Recording, cut: Cut, loop: Loop) -> AudioWarning:
    window = cut.window
    first, last = map(recording.recorded_frame, (window.seek, window.seek + window.size))
    start, end = first / FRAMES_PER_SECOND, min(last / FRAMES_PER_SECOND, recording.duration)
    text = recording.tokenizer.decode(loop.tokens).strip()
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    message = f"{start:.2f} to {end:.2f} s: decoded again without {loop.repeats} times {shown!r}, which nobody says"
    return AudioWarning("loop", start, end, message)
