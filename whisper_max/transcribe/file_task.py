"""One recording on its way to a transcript: which window comes next, and what its decoding means.

A state machine without a model. ``next_window`` says what to decode, ``cut`` makes segments of the result,
``time_words`` gives them words where they are asked for, ``commit`` accepts them and moves on; so one recording
alone, several side by side and independent pieces all run the same code.
The rules are openai-whisper's (``transcribe.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from whisper_max.audio.mel import FRAMES_PER_SECOND, N_FRAMES
from whisper_max.decode.inference import Alignment
from whisper_max.decode.language import DetectedLanguage
from whisper_max.decode.result import DecodingResult
from whisper_max.decode.task import text_tokens
from whisper_max.text.tokenizer import SECONDS_PER_TIMESTAMP, Tokenizer
from whisper_max.transcribe.clips import Clip, seek_clips
from whisper_max.transcribe.cut import Cut, Window, end_of_speech
from whisper_max.transcribe.hallucination import skip_hallucinations
from whisper_max.transcribe.options import HIGH_TEMPERATURE, TranscribeOptions
from whisper_max.transcribe.result import Segment
from whisper_max.transcribe.timing import add_words, alignment_tokens, find_words

_FRAMES_PER_TIMESTAMP = round(SECONDS_PER_TIMESTAMP * FRAMES_PER_SECOND)  # 2


class FileTask:
    """The state of one transcription.

    Args:
        n_frames: mel frames of the recording.
        n_text_ctx: positions of the text decoder.
        tokenizer: of the recording's language and of the task.
        options: of the transcription.
        clips: the parts to transcribe, in place of those of the options.

    Raises:
        OptionError: a clip is not inside the recording.
    """

    def __init__(
        self,
        n_frames: int,
        n_text_ctx: int,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        clips: Sequence[Clip] | None = None,
    ) -> None:
        self.n_frames = n_frames
        self.tokenizer = tokenizer
        self.options = options
        self._clips = list(clips) if clips is not None else seek_clips(options.clip_seconds(), n_frames)
        self._seek = self._clips[0][0]
        self._spoken: DetectedLanguage | None = None  # of the window, where each has its own
        self._n_segments = 0
        self._last_speech = 0.0 if clips is None else self._seek / FRAMES_PER_SECOND  # the end of the last word
        self._initial_prompt = _initial_prompt(tokenizer, options)
        self._kept = n_text_ctx // 2 - 1  # older tokens reach no prompt
        hotwords = text_tokens(tokenizer, "hotwords", options.hotwords)  # stand before every prompt
        self._carried = max(0, self._kept - len(hotwords) - len(self._initial_prompt))
        self._history = [] if options.carry_initial_prompt else list(self._initial_prompt)

    @property
    def seek(self) -> int:
        """Where the next window starts, unless its clip ends before; the recording's length at the end."""
        return min(self._seek, self.n_frames) if self._clips else self.n_frames

    @property
    def done(self) -> bool:
        """True where no window is left."""
        return self.next_window() is None

    def next_window(self) -> Window | None:
        """The window to decode now; None at the end."""
        while self._clips:
            start, end = self._clips[0]
            self._seek = max(self._seek, start)
            if self._seek < end:
                size = min(N_FRAMES, self.n_frames - self._seek, end - self._seek)
                return Window(self._seek, size, self._prompt())
            self._clips = self._clips[1:]
            if self._clips:
                self._seek = self._clips[0][0]
        return None

    def _prompt(self) -> tuple[int, ...]:
        if not self.options.carry_initial_prompt:
            return tuple(self._history)
        newest = self._history[-self._carried :] if self._carried else ()
        return (*self._initial_prompt, *newest)

    def speak(self, language: DetectedLanguage) -> None:
        """Take the next window as one in this language."""
        self.tokenizer = replace(self.tokenizer, language=language.code)
        self._spoken = language

    def cut(self, window: Window, result: DecodingResult) -> Cut:
        """Make segments of what was decoded."""
        if self._is_silence(result):
            return Cut(window, result, window.seek + window.size, skipped=True)
        begin = self.tokenizer.timestamp_begin
        timed = [token >= begin for token in result.tokens]
        cut = Cut(window, result, window.seek + window.size, ends_in_silence=timed[-2:] == [False, True])
        borders = [i + 1 for i, (first, second) in enumerate(pairwise(timed)) if first and second]
        if not borders:
            cut.segments.append(self._whole_window(window, result))
            return cut
        if cut.ends_in_silence:
            borders.append(len(result.tokens))
        for first, last in pairwise([0, *borders]):
            cut.segments.append(self._timed_segment(window, result, result.tokens[first:last]))
        if not cut.ends_in_silence:  # the last segment is unfinished: the next window starts where it does
            cut.seek = window.seek + (result.tokens[borders[-1] - 1] - begin) * _FRAMES_PER_TIMESTAMP
        return cut

    def _is_silence(self, result: DecodingResult) -> bool:
        thresholds = self.options.thresholds
        if self.options.drop_unlikely and result.temperature > HIGH_TEMPERATURE and thresholds.is_unlikely(result):
            return True  # no temperature has helped: laughter, coughs and noise that pass for speech
        return thresholds.is_silence(result)

    def alignment_tokens(self, cut: Cut) -> list[int]:
        """What the model is to align with the window's audio; nothing where the cut has no words to time."""
        text_tokens = cut.text_tokens(self.tokenizer.eot)
        return alignment_tokens(self.tokenizer, text_tokens) if text_tokens else []

    def time_words(self, cut: Cut, alignment: Alignment | None) -> None:
        """Give a cut its words, and let them and the silence between them decide where to go on.

        alignment: of ``alignment_tokens``; None where there are none.
        """
        if cut.skipped:
            return
        eot, window = self.tokenizer.eot, cut.window
        timings = []
        if alignment is not None:
            timings = find_words(self.tokenizer, cut.text_tokens(eot), alignment, window.size)
        add_words(cut.segments, timings, self.options.punctuation, eot, self._last_speech)
        end = end_of_speech(cut.segments)
        if not cut.ends_in_silence and end is not None and end > window.start:
            cut.seek = round(end * FRAMES_PER_SECOND)
        if self.options.hallucination_silence_threshold is not None:
            threshold = self.options.hallucination_silence_threshold
            skip_hallucinations(cut, self._last_speech, self.n_frames, threshold)

    def commit(self, cut: Cut) -> list[Segment]:
        """Accept a cut and move on to its ``seek``.

        Returns:
            its segments, with their final ids; those that are empty or last no time are blank.
        """
        stuck = cut.seek <= cut.window.seek
        self._seek = cut.window.seek + cut.window.size if stuck else cut.seek
        if cut.skipped:
            return []
        if (end := end_of_speech(cut.segments)) is not None:
            self._last_speech = end
        for segment in cut.segments:
            segment.id = self._n_segments
            self._n_segments += 1
            if segment.start == segment.end or not segment.text.strip():
                _blank(segment)
            self._history += segment.tokens
        reset = cut.result.temperature > self.options.prompt_reset_on_temperature
        if reset or not self.options.condition_on_previous_text:
            self._history.clear()
        del self._history[: -self._kept]
        return cut.segments

    def _whole_window(self, window: Window, result: DecodingResult) -> Segment:
        """The only segment of a window: to its last timestamp, or to its end."""
        begin = self.tokenizer.timestamp_begin
        last = next((token - begin for token in reversed(result.tokens) if token >= begin), 0)
        duration = last * SECONDS_PER_TIMESTAMP if last else window.duration
        return self._segment(window, result, window.start, window.start + duration, result.tokens)

    def _timed_segment(self, window: Window, result: DecodingResult, tokens: list[int]) -> Segment:
        """A segment between its first and its last token, which are timestamps."""
        begin = self.tokenizer.timestamp_begin
        start, end = ((token - begin) * SECONDS_PER_TIMESTAMP for token in (tokens[0], tokens[-1]))
        return self._segment(window, result, window.start + start, window.start + end, tokens)

    def _segment(
        self, window: Window, result: DecodingResult, start: float, end: float, tokens: Sequence[int]
    ) -> Segment:
        return Segment(
            id=0,
            seek=window.seek,
            start=start,
            end=end,
            text=self.tokenizer.decode([token for token in tokens if token < self.tokenizer.eot]),
            tokens=list(tokens),
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
            language=self._spoken.code if self._spoken else None,
            language_probability=self._spoken.probability if self._spoken else None,
        )


def _initial_prompt(tokenizer: Tokenizer, options: TranscribeOptions) -> list[int]:
    if options.initial_prompt is None:
        return []
    return tokenizer.encode(" " + options.initial_prompt.strip())


def _blank(segment: Segment) -> None:
    segment.text = ""
    segment.tokens = []
    if segment.words is not None:
        segment.words = []
