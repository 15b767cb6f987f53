"""What voice activity detection says about a recording, and how a transcription uses it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whisper_max.audio.mel import FRAMES_PER_SECOND, HOP_LENGTH, N_FRAMES
from whisper_max.audio.speech import SpeechWaveform, Timeline
from whisper_max.audio.vad import new_listener, speech_probabilities, speech_spans, vad_chunks
from whisper_max.audio.vad_options import VAD_CHUNK
from whisper_max.audio.waveform import SAMPLE_RATE, Waveform
from whisper_max.decode.attempt import Context
from whisper_max.transcribe.clips import Clip
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.pieces import Chances, Part, cut_parts
from whisper_max.transcribe.segment import Segment, Word
from whisper_max.transcribe.tidy import PAUSE
from whisper_max.transcribe.window import Piece, Window

if TYPE_CHECKING:
    from whisper_max.transcribe.recording import Recording

_LAST_WORDS = 1.0  # seconds before the end of speech from which on a transcript may end: its end is not that exact


@dataclass(frozen=True)
class Speech:
    """The speech of a recording.

    timeline: where it is in the recording; None where silence is transcribed too. chances: how likely speech is in mel
    frames of what is transcribed. silence_threshold: a frame is silent below it. window_frames: most of a window.
    """

    timeline: Timeline | None
    chances: Chances
    silence_threshold: float
    window_frames: int = N_FRAMES

    def clips(self, clips: Sequence[Clip]) -> list[Clip]:
        """Clips of the recording as clips of its speech."""
        return [(self._spoken(start), self._spoken(end)) for start, end in clips]

    def pieces(self, recording: Recording, n_text_ctx: int, clips: Sequence[Clip]) -> list[Piece]:
        """The pieces of clips of a recording: one for all, or one for each part where the batch size is above 1."""
        clips = self.clips(clips)
        if recording.options.batch_size == 1:
            return [SpokenPiece(recording, n_text_ctx, clips)]
        return [SpokenPiece(recording, n_text_ctx, [part.clip], part.speech_end) for part in self.parts(clips)]

    def parts(self, clips: Sequence[Clip]) -> list[Part]:
        """Clips of the speech, cut in silences into parts of a window."""
        how = self.silence_threshold, self.window_frames
        return [part for clip in clips for part in cut_parts(self.chances, clip, *how)]

    def recorded_frame(self, frame: int) -> int:
        """Where in the recording a frame of the speech is."""
        if self.timeline is None or not self.timeline.spans:
            return frame
        return self.timeline.recorded_start(frame * HOP_LENGTH) // HOP_LENGTH

    def n_recorded_frames(self, n_frames: int) -> int:
        """Frames of the recording, whose speech has so many."""
        return n_frames if self.timeline is None else self.timeline.n_recorded // HOP_LENGTH

    def restore(self, segments: Iterable[Segment]) -> None:
        """Change the times of segments and words from those of the speech to those of the recording."""
        if self.timeline is not None:
            for segment in segments:
                _restore(segment, self.timeline)

    def is_parted(self, segments: Iterable[Segment]) -> bool:
        """True where one of the segments, with times in the speech, reaches over a pause of the recording."""
        if self.timeline is None or not self.timeline.spans:
            return False
        return any(
            end - start > _sample(segment.end - segment.start + PAUSE)
            for segment in segments
            for start, end in [
                (self.timeline.recorded_start(_sample(segment.start)), self.timeline.recorded_end(_sample(segment.end)))
            ]
        )

    def _spoken(self, frame: int) -> int:
        return frame if self.timeline is None else self.timeline.spoken(frame * HOP_LENGTH) // HOP_LENGTH


class SpokenPiece(Piece):
    """A piece of the speech of a recording.

    Args:
        recording: whose language is known.
        n_text_ctx: positions of the text decoder.
        clips: of the speech.
        speech_end: the frame up to which somebody speaks near the end of the clips; 0 where that is not known.
    """

    def __init__(self, recording: Recording, n_text_ctx: int, clips: Sequence[Clip], speech_end: int = 0) -> None:
        n_frames, channel = recording.mel.n_frames, recording.channel or 0
        super().__init__(n_frames, n_text_ctx, recording.tokenizer, recording.options, clips, channel)
        self.last_speech = self.seek / FRAMES_PER_SECOND
        self._speech_end = speech_end

    def context(self, window: Window) -> Context:
        """With the time before which the transcript can't be over; 0.0 where a later window hears the rest.

        A model may end a transcript between two sentences and leave the second for the next window. Where the piece
        ends with this one, that would cost a window more for a few words.
        """
        context = super().context(window)
        if window.seek + window.size < self.clips[0][1]:
            return context
        spoken_until = max(0.0, (self._speech_end - window.seek) / FRAMES_PER_SECOND - _LAST_WORDS)
        return replace(context, spoken_until=spoken_until)


def listen(waveform: Waveform, options: TranscribeOptions) -> tuple[Waveform, Speech | None]:
    """What is to be transcribed of a recording, and what is known of the speech in it, where the options ask for that.

    Raises:
        OptionError: the extra ``vad`` is not installed.
        AudioError: a spooled recording can't be read back.
    """
    if not options.vad and options.batch_size == 1:
        return waveform, None
    vad_options = options.speech
    if not options.vad:
        return waveform, Speech(None, _NearbySpeech(waveform), vad_options.silence_threshold, options.window_frames)
    probabilities = speech_probabilities(waveform)
    spans = speech_spans(probabilities, waveform.n_samples, vad_options)
    timeline = Timeline(spans, waveform.n_samples)
    frames = np.concatenate(
        [np.arange(0), *(np.arange(start, end, HOP_LENGTH) // HOP_LENGTH for start, end in timeline.spans)]
    )
    chances: NDArray[np.float32] = probabilities[frames * HOP_LENGTH // VAD_CHUNK]  # (n_frames,) of the speech

    def chances_between(start: int, stop: int) -> NDArray[np.float32]:
        return chances[start:stop]

    speech = Speech(timeline, chances_between, vad_options.silence_threshold, options.window_frames)
    return SpeechWaveform(waveform, timeline), speech


class _NearbySpeech:
    """How likely speech is in some frames of a recording, from these and a second before them alone.

    Raises:
        OptionError: the extra ``vad`` is not installed.
    """

    def __init__(self, waveform: Waveform) -> None:
        self._waveform = waveform
        self._listener = new_listener()

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        first, last = max(start * HOP_LENGTH - SAMPLE_RATE, 0) // VAD_CHUNK, -(-stop * HOP_LENGTH // VAD_CHUNK)
        samples = self._waveform.read(first * VAD_CHUNK, last * VAD_CHUNK)
        probabilities = self._listener(vad_chunks(samples))
        return probabilities[np.arange(start, stop) * HOP_LENGTH // VAD_CHUNK - first]


def _restore(segment: Segment, timeline: Timeline) -> None:
    """Points in time, as they are in the recording; a word, and so a segment of words, does not reach over a gap."""
    start, end = _sample(segment.start), _sample(segment.end)
    segment.seek = timeline.recorded_start(segment.seek * HOP_LENGTH) // HOP_LENGTH
    if segment.words:
        first, last = (_span_of(word, timeline) for word in (segment.words[0], segment.words[-1]))
        segment.start = timeline.recorded(start, first) / SAMPLE_RATE
        segment.end = timeline.recorded(end, last) / SAMPLE_RATE
    else:
        segment.start = timeline.recorded_start(start) / SAMPLE_RATE
        segment.end = max(timeline.recorded_end(end) / SAMPLE_RATE, segment.start)
    for word in segment.words or ():
        span = _span_of(word, timeline)
        word.start = timeline.recorded(_sample(word.start), span) / SAMPLE_RATE
        word.end = timeline.recorded(_sample(word.end), span) / SAMPLE_RATE


def _span_of(word: Word, timeline: Timeline) -> int:
    """The span in which the middle of a word is."""
    return timeline.span_at((_sample(word.start) + _sample(word.end)) // 2)


def _sample(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
