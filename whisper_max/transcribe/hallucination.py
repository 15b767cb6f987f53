"""Text that was probably never said: segments of strange words with silence around them.

openai/whisper ``transcribe.py``, ``hallucination_silence_threshold``.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.transcribe.segment import Segment, Word
from whisper_max.transcribe.window import Cut, end_of_speech

_PUNCTUATION = "\"'“¿([{-\"'.。,，!！?？:：”)]}、"
_FIRST_WORDS = 8  # as many words of a segment are looked at
_UNLIKELY = 0.15  # probability
_SHORTEST, _LONGEST = 0.133, 2.0  # seconds
_NEAR = 2.0  # seconds from a border of the window


def skip_hallucinations(
    cut: Cut, last_speech: float, n_frames: int, threshold: float, window_frames: int = N_FRAMES
) -> None:
    """Drop what is probably not said and decode again from there; skip silence before it.

    Args:
        cut: with words; its segments, its seek and whether it counts at all may change.
        last_speech: when speech ended before this window, in seconds.
        n_frames: mel frames of the recording.
        threshold: silence longer than this many seconds may be skipped.
        window_frames: most of a window.
    """
    window = cut.window
    window_end = (window.seek + window_frames) / FRAMES_PER_SECOND
    if not cut.ends_in_silence:
        end = end_of_speech(cut.segments)
        if end is not None and end > window.start:
            remaining = window_end - end
            cut.seek = round(end * FRAMES_PER_SECOND) if remaining > threshold else window.seek + window.size
    first = _next_spoken(cut.segments)
    if first is not None and _is_anomalous(first):
        gap = first.start - window.start
        gap_frames = round(gap * FRAMES_PER_SECOND)
        if gap > threshold and gap_frames > 0:  # it may not be spoken at all: listen again without the silence
            cut.seek = window.seek + gap_frames
            cut.segments.clear()
            cut.skipped = True
            return
    _drop_surrounded_by_silence(cut, last_speech, n_frames, threshold, window_end)


def _drop_surrounded_by_silence(cut: Cut, last_end: float, n_frames: int, threshold: float, window_end: float) -> None:
    """Drop the first anomalous segment with silence, or more of its kind, on both sides, and all after it."""
    window = cut.window
    for index, segment in enumerate(cut.segments):
        if not segment.words:
            continue
        if _is_anomalous(segment):
            following = _next_spoken(cut.segments[index + 1 :])
            next_start = following.words[0].start if following and following.words else window.start + window.duration
            silence_before = (
                segment.start - last_end > threshold
                or segment.start < threshold
                or segment.start - window.start < _NEAR
            )
            silence_after = (
                next_start - segment.end > threshold
                or (following is not None and _is_anomalous(following))
                or window_end - segment.end < _NEAR
            )
            if silence_before and silence_after:
                cut.seek = round(max(window.start + 1, segment.start) * FRAMES_PER_SECOND)
                if n_frames / FRAMES_PER_SECOND - segment.end < threshold:
                    cut.seek = n_frames
                del cut.segments[index:]
                return
        last_end = segment.end


def _next_spoken(segments: Sequence[Segment]) -> Segment | None:
    return next((segment for segment in segments if segment.words), None)


def _is_anomalous(segment: Segment) -> bool:
    words = [word for word in segment.words or () if word.word not in _PUNCTUATION][:_FIRST_WORDS]
    score = sum(_anomaly(word) for word in words)
    return score >= 3 or score + 0.01 >= len(words)


def _anomaly(word: Word) -> float:
    """How strange a word is: unlikely, very short or very long."""
    duration = word.end - word.start
    score = 1.0 if word.probability < _UNLIKELY else 0.0
    score += max(0.0, _SHORTEST - duration) * 15
    score += max(0.0, duration - _LONGEST)
    return score
