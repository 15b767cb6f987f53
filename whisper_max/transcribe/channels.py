"""A recording each of whose channels is a speaker: transcribed one by one, side by side, and put together by time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import TypeAlias

from whisper_max.audio.mel import FRAMES_PER_SECOND
from whisper_max.audio.separate import separate
from whisper_max.audio.warnings import AudioWarning
from whisper_max.audio.waveform import Waveform
from whisper_max.decode.contract import Inference
from whisper_max.text.tokenizer import Vocabulary
from whisper_max.transcribe.opening import open_recording
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.recording import Recording
from whisper_max.transcribe.result import TranscriptionResult
from whisper_max.transcribe.segment import Segment
from whisper_max.transcribe.split import split_segment
from whisper_max.transcribe.turns import speaker_name
from whisper_max.transcribe.window import Cut, Piece

_PAUSE = 0.25  # seconds between two words in which somebody else may come in, and by which words may be timed wrongly


def open_channel_recording(
    channels: Sequence[Waveform], vocabulary: Vocabulary, n_mels: int, options: TranscribeOptions
) -> AnyRecording:
    """A recording whose channels are to be transcribed one by one; the rest as ``open_recording``.

    Args:
        channels: of the recording; they stay open as long as it is used.

    Returns:
        one that is transcribed as a whole, without speakers, where all channels are silent or carry the same sound.

    Raises:
        OptionError: there is but one channel.
    """
    voices, found = separate(channels)
    warnings = [*channels[0].warnings, *found]
    if len(voices) < 2 and not (voices and len(voices[0].channels) == 1):
        whole = open_recording(voices[0].waveform if voices else channels[0], vocabulary, n_mels, options)
        whole.warnings = warnings
        return whole
    recordings = [
        open_recording(voice.waveform, vocabulary, n_mels, options, channel=number)
        for number, voice in enumerate(voices)
    ]
    return ChannelRecording(recordings, [voice.channels[0] for voice in voices], warnings)


@dataclass
class _Channel:
    """A channel on its way. number: from 1, in the recording. segments: those that wait for the other channels'."""

    number: int
    recording: Recording
    segments: deque[Segment] = field(default_factory=deque)

    @property
    def known_until(self) -> float:
        """Seconds before which no segment starts that is still to come."""
        done, _ = self.recording.progress
        return math.inf if self.recording.done else done / FRAMES_PER_SECOND

    @property
    def is_over(self) -> bool:
        return self.recording.done and not self.segments


class ChannelRecording:
    """Channels that are transcribed as recordings of their own; it is scheduled as one ``Recording``.

    A segment comes as soon as all channels are known up to its end, so that it can be split where it pauses and
    somebody else comes in. Speakers are numbered as their first words come.

    Args:
        recordings: of the channels, each with its number from 0 as ``channel``.
        numbers: the numbers from 1 that the channels have in the file.
        warnings: of the file.

    Attributes:
        options: of all channels.
        waiting: pieces of all channels that have a window to decode and are not being decoded.
        warnings: those given, and those of clips.
    """

    def __init__(
        self, recordings: Sequence[Recording], numbers: Sequence[int], warnings: Sequence[AudioWarning]
    ) -> None:
        self._channels = [_Channel(number, each) for number, each in zip(numbers, recordings, strict=True)]
        self.options = recordings[0].options
        self.waiting: deque[Piece] = deque()
        self.warnings = list(warnings)
        self._speakers: dict[int, str] = {}  # by the numbers of their channels
        self._n_segments = 0

    @property
    def channels(self) -> list[Recording]:
        """The recordings of the channels; a piece has its channel's number from 0."""
        return [channel.recording for channel in self._channels]

    def scale(self) -> None:
        """As ``Recording.scale``, of each channel."""
        for recording in self.channels:
            recording.scale()

    def begin(self, inference: Inference) -> None:
        """Find the language of each channel, and its pieces; errors as ``Recording.begin``."""
        for recording in self.channels:
            recording.begin(inference)
        self.warnings += [each for each in self.channels[0].warnings if each not in self.warnings]  # of clips
        self.wait()

    def wait(self) -> None:
        """Let every piece that has a window wait for a slot, the channels in turns."""
        for recording in self.channels:
            recording.wait()
        queues = [deque(recording.waiting) for recording in self.channels]
        self.waiting = deque()
        while any(queues):
            self.waiting.extend(queue.popleft() for queue in queues if queue)

    @property
    def n_side_by_side(self) -> int:
        """Most windows of it that are decoded together."""
        return sum(recording.n_side_by_side for recording in self.channels)

    @property
    def done(self) -> bool:
        """True where no window is left."""
        return all(recording.done for recording in self.channels)

    @property
    def progress(self) -> tuple[int, int]:
        """Mel frames that are done of the channel that is farthest behind, and all of them."""
        return min((each.progress for each in self.channels), key=lambda progress: progress[0])

    def commit(self, piece: Piece, cut: Cut) -> list[Segment]:
        """As ``Recording.commit``: the segments that are next, of whatever channel."""
        channel = self._channels[piece.channel]
        channel.segments += channel.recording.commit(piece, cut)
        return self._take_known()

    def _take_known(self) -> list[Segment]:
        """The segments up to which all channels are known, by their start."""
        taken = []
        while waiting := [channel for channel in self._channels if channel.segments]:
            channel = min(waiting, key=lambda each: (each.segments[0].start, each.number))
            others = [other for other in self._channels if other is not channel]
            first = channel.segments[0]
            if any(other.known_until < max(first.end, first.start) for other in others):
                break
            channel.segments.popleft()
            if len(parts := self._split(first, channel, others)) > 1:
                channel.segments.appendleft(parts[1])
            taken.append(self._labelled(parts[0], channel))
        return taken

    @staticmethod
    def _split(segment: Segment, channel: _Channel, others: Sequence[_Channel]) -> list[Segment]:
        """A segment in two where it pauses and another channel's begins there."""
        words = segment.words or []
        if "".join(word.word for word in words) != segment.text:
            return [segment]  # a word reaches over its border, and parts would say it twice
        starts = sorted(_starts_within(segment, others))
        for i, (before, after) in enumerate(pairwise(words), 1):
            if after.start - before.end < _PAUSE:
                continue
            if any(before.end - _PAUSE <= start <= after.start for start in starts):
                parts = split_segment(segment, [i], channel.recording.tokenizer)
                parts[0].end, parts[1].start = before.end, after.start
                return parts
        return [segment]

    def _labelled(self, segment: Segment, channel: _Channel) -> Segment:
        segment.id = self._n_segments
        self._n_segments += 1
        segment.channel = channel.number
        if segment.text.strip():
            name = speaker_name(len(self._speakers))
            segment.speaker = self._speakers.setdefault(channel.number, name)
        for word in segment.words or ():
            word.speaker = segment.speaker
        if len({each.language for each in self.channels if each.language}) > 1 and segment.language is None:
            segment.language = channel.recording.language
            segment.language_probability = channel.recording.language_probability
        if not self.options.word_timestamps:
            segment.words = None
        return segment

    def result(self, segments: Sequence[Segment]) -> TranscriptionResult:
        """The whole transcript, from all of its segments; its language is that of the channel that says most."""
        said = {channel.number: 0 for channel in self._channels}
        for segment in segments:
            said[segment.channel or 0] += len(segment.text)
        most = max(self._channels, key=lambda channel: said[channel.number])
        results = [
            each.recording.result([segment for segment in segments if segment.channel == each.number])
            for each in self._channels
        ]
        main = results[self._channels.index(most)]
        speech = [each.duration_after_vad for each in results if each.duration_after_vad is not None]
        return TranscriptionResult(
            text="".join(segment.text for segment in segments),
            segments=list(segments),
            language=main.language,
            language_probability=main.language_probability,
            duration=main.duration,
            duration_after_vad=sum(speech) if speech else None,
            options=main.options,
            warnings=list(dict.fromkeys(chain(self.warnings, *(each.warnings for each in results)))),
            dropped=sorted(
                (
                    replace(segment, channel=channel.number)
                    for channel, each in zip(self._channels, results, strict=True)
                    for segment in each.dropped
                ),
                key=lambda segment: segment.start,
            ),
        )


def _starts_within(segment: Segment, channels: Sequence[_Channel]) -> Iterator[float]:
    """The starts of what other channels say while a segment lasts."""
    for channel in channels:
        for other in channel.segments:
            if other.start >= segment.end:
                break
            if other.start > segment.start and other.text.strip():
                yield other.start


AnyRecording: TypeAlias = Recording | ChannelRecording
