"""The windows of a recording: which comes next, and what its decoding means.

A state machine without a model. ``Piece.next_window`` says what to decode, ``cut`` makes segments of the result and
``commit`` accepts them and moves on; so one recording alone, several side by side and independent pieces all run the
same code. The rules are openai-whisper's (``transcribe.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.decode.attempt import Context
from whisper_max.decode.contract import Float32
from whisper_max.decode.decoded import Decoded
from whisper_max.decode.language import DetectedLanguage
from whisper_max.text.tokenizer import SECONDS_PER_TIMESTAMP, Tokenizer
from whisper_max.transcribe.clips import Clip
from whisper_max.transcribe.options import HIGH_TEMPERATURE, TranscribeOptions
from whisper_max.transcribe.prompts import CarriedPrompt, first_tokens, initial_prompt
from whisper_max.transcribe.segment import Segment

_FRAMES_PER_TIMESTAMP = round(SECONDS_PER_TIMESTAMP * FRAMES_PER_SECOND)  # 2


class Mel(Protocol):
    """A recording's log-mel by windows (``whisper_max.audio.mel.MelWindows``). n_frames: of 10 ms each."""

    @property
    def n_frames(self) -> int: ...

    def window(self, seek: int, segment_size: int = N_FRAMES) -> Float32:
        """(n_mels, 3000) float32: ``segment_size`` frames from ``seek`` on, zeros after them."""


@dataclass(frozen=True)
class Window:
    """A window to decode.

    seek: its first mel frame. size: its frames, up to 3000. prompt: the tokens before it. begun: those that its
    transcript begins with. channel: of a recording whose channels are transcribed one by one. start, duration: in
    seconds.
    """

    seek: int
    size: int
    prompt: tuple[int, ...]
    begun: tuple[int, ...] = ()
    channel: int = 0

    @property
    def start(self) -> float:
        return self.seek / FRAMES_PER_SECOND

    @property
    def duration(self) -> float:
        return self.size / FRAMES_PER_SECOND


@dataclass
class Cut:
    """What a window's decoding amounts to, before it is committed.

    segments: with times and tokens, ids not yet final. seek: where the next window starts.
    ends_in_silence: True where nothing was said after the last timestamp.
    skipped: True where the window counts for nothing, as silence does. dropped: segments that the guard left out.
    """

    window: Window
    result: Decoded
    seek: int
    segments: list[Segment] = field(default_factory=list)
    ends_in_silence: bool = False
    skipped: bool = False
    dropped: list[Segment] = field(default_factory=list)


def end_of_speech(segments: Sequence[Segment]) -> float | None:
    """The end of the last word, or of the last segment where there are no words, in seconds."""
    words = [word for segment in segments for word in segment.words or ()]
    if words:
        return words[-1].end
    return segments[-1].end if segments else None


class Piece:
    """A recording, or a part of it that is transcribed by itself: how far it is.

    Args:
        n_frames: mel frames of the recording.
        n_text_ctx: positions of the text decoder.
        tokenizer: of the recording's language and of the task.
        options: of the transcription.
        clips: the parts to transcribe; None for the whole.
        channel: of a recording whose channels are transcribed one by one.
    """

    def __init__(
        self,
        n_frames: int,
        n_text_ctx: int,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        clips: Sequence[Clip] | None = None,
        channel: int = 0,
    ) -> None:
        self.n_frames = n_frames
        self.tokenizer = tokenizer
        self.options = options
        self.clips = [(0, n_frames)] if clips is None else list(clips)  # those that are not done
        self.channel = channel
        self._seek = self.clips[0][0]
        self._spoken: DetectedLanguage | None = None  # of the window, where each has its own
        self.last_speech = 0.0  # the end of the last word
        self._kept = n_text_ctx // 2 - 1  # older tokens reach no prompt
        self._begun = first_tokens(tokenizer, options, n_text_ctx) if options.first_prefix else ()
        self._history = [] if options.initial_prompt is None else initial_prompt(tokenizer, options.initial_prompt)
        self._carried: CarriedPrompt | None = None
        if options.carry_initial_prompt:
            self._carried, self._history = CarriedPrompt(self._history, tokenizer, options, self._kept), []

    @property
    def seek(self) -> int:
        """Where the next window starts, unless its clip ends before; the recording's length at the end."""
        return min(self._seek, self.n_frames) if self.clips else self.n_frames

    @property
    def done(self) -> bool:
        """True where no window is left."""
        return self.next_window() is None

    def next_window(self) -> Window | None:
        """The window to decode now; None at the end."""
        while self.clips:
            start, end = self.clips[0]
            self._seek = max(self._seek, start)
            if self._seek < end:
                size = min(self.options.window_frames, self.n_frames - self._seek, end - self._seek)
                begun = self._begun if self._seek == 0 else ()
                prompt = tuple(self._history) if self._carried is None else self._carried.before(self._history)
                return Window(self._seek, size, prompt, begun, self.channel)
            self.clips = self.clips[1:]
            if self.clips:
                self._seek = self.clips[0][0]
        return None

    def context(self, window: Window) -> Context:
        """What a window is decoded after, and by what its random numbers are known."""
        return Context(window.prompt, (window.seek,), self.tokenizer.language, self.options.multilingual, window.begun)

    def cut(self, window: Window, decoded: Decoded) -> Cut:
        """Make segments of what was decoded; its language, where that was detected, is the piece's from now on."""
        if decoded.language_probs is not None:
            self.tokenizer = replace(self.tokenizer, language=decoded.language)
            self._spoken = DetectedLanguage(decoded.language, decoded.language_probs)
        if self._is_silence(decoded):
            return Cut(window, decoded, window.seek + window.size, skipped=True)
        tokens, begin = decoded.tokens, self.tokenizer.timestamp_begin
        timed = [self.tokenizer.is_timestamp(token) for token in tokens]
        cut = Cut(window, decoded, window.seek + window.size, ends_in_silence=timed[-2:] == [False, True])
        borders = [i + 1 for i, (first, second) in enumerate(pairwise(timed)) if first and second]
        if not borders:  # one segment, to the last timestamp or to the window's end
            last = next((token - begin for token in reversed(tokens) if self.tokenizer.is_timestamp(token)), 0)
            end = last * SECONDS_PER_TIMESTAMP if last else window.duration
            cut.segments.append(self._segment(window, decoded, slice(None), 0.0, end))
            return cut
        if cut.ends_in_silence:
            borders.append(len(tokens))
        for part in (slice(first, last) for first, last in pairwise([0, *borders])):
            start, end = ((token - begin) * SECONDS_PER_TIMESTAMP for token in (tokens[part][0], tokens[part][-1]))
            cut.segments.append(self._segment(window, decoded, part, start, end))
        if not cut.ends_in_silence:  # the last segment is unfinished: the next window starts where it does
            cut.seek = window.seek + (tokens[borders[-1] - 1] - begin) * _FRAMES_PER_TIMESTAMP
        return cut

    def _is_silence(self, decoded: Decoded) -> bool:
        thresholds = self.options.thresholds
        if self.options.drop_unlikely and decoded.temperature > HIGH_TEMPERATURE and thresholds.is_unlikely(decoded):
            return True  # no temperature has helped: laughter, coughs and noise that pass for speech
        return thresholds.is_silence(decoded)

    def commit(self, cut: Cut) -> list[Segment]:
        """Accept a cut and move on to its ``seek``.

        Returns:
            its segments; those that are empty or last no time are blank.
        """
        stuck = cut.seek <= cut.window.seek
        self._seek = cut.window.seek + cut.window.size if stuck else cut.seek
        if cut.skipped:
            return []
        if (end := end_of_speech(cut.segments)) is not None:
            self.last_speech = end
        for segment in cut.segments:
            if segment.start == segment.end or not segment.text.strip():
                segment.text, segment.tokens = "", []
                segment.words = None if segment.words is None else []
                segment.token_logprobs = None if segment.token_logprobs is None else []
            self._history += segment.tokens
        reset = cut.result.temperature > self.options.prompt_reset_on_temperature
        if reset or not self.options.condition_on_previous_text:
            self._history.clear()
        del self._history[: -self._kept]
        return cut.segments

    def _segment(self, window: Window, decoded: Decoded, part: slice, start: float, end: float) -> Segment:
        """A segment of a part of the tokens, with times from the window's start."""
        tokens = decoded.tokens[part]
        return Segment(
            id=0,
            seek=window.seek,
            start=window.start + start,
            end=window.start + end,
            text=self.tokenizer.decode([token for token in tokens if self.tokenizer.is_text(token)]),
            tokens=tokens,
            temperature=decoded.temperature,
            avg_logprob=decoded.avg_logprob,
            compression_ratio=decoded.compression_ratio,
            no_speech_prob=decoded.no_speech_prob,
            language=self._spoken.code if self._spoken else None,
            language_probability=self._spoken.probability if self._spoken else None,
            token_logprobs=None if decoded.token_logprobs is None else decoded.token_logprobs[part],
        )
