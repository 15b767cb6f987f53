"""Closing a recording: the whole transcript, from all of its segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.transcribe.result import TranscriptionResult
from whisper_max.transcribe.segment import Segment

if TYPE_CHECKING:
    from whisper_max.transcribe.recording import Recording


def whole_result(recording: Recording, segments: Sequence[Segment]) -> TranscriptionResult:
    """The transcript of a recording that has begun, with what was left out of it and what is to be warned of."""
    doubted, tidy, speech = recording.doubted, recording.tidy, recording.speech
    tokenizer = recording.tokenizer
    of_speech = speech is not None and speech.timeline is not None
    return TranscriptionResult(
        text=tokenizer.decode([each for segment in segments for each in segment.tokens if tokenizer.is_text(each)]),
        segments=list(segments),
        language=recording.language,
        language_probability=recording.language_probability,
        duration=recording.duration,
        duration_after_vad=recording.mel.n_frames / FRAMES_PER_SECOND if of_speech else None,
        options=recording.options.to_dict() | {"language": recording.language},
        warnings=[
            *recording.warnings,
            *([] if doubted is None else doubted.warnings()),
            *([] if tidy is None else tidy.sound.early(segments)),
        ],
        dropped=[] if doubted is None else doubted.dropped(),
    )
