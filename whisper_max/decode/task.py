"""Decoding windows: many at once, each on its own.

The windows share a batch of the model and nothing else. Each has its prompt, its rules, its search and, when its
transcript fails, its next temperature; one that is finished leaves and a waiting one takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whisper_max.decode.fallback import NO_THRESHOLDS, Thresholds
from whisper_max.decode.inference import AudioFeatures, DecoderBatch, Float32, Inference
from whisper_max.decode.language import check_translation, detect_language
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.result import DecodingResult, compression_ratio
from whisper_max.decode.rules import LogitRule, build_rules
from whisper_max.decode.search import Search, best_candidate, new_search
from whisper_max.dims import ModelDimensions
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import Tokenizer, Vocabulary, build_tokenizer


@dataclass(frozen=True)
class DecodeRequest:
    """One window to decode.

    window: its row in the audio features. prompt: tokens before it. stream: what identifies it among the windows
    decoded with the same seed (its first frame, say), for its random numbers. language: a code, in place of the
    tokenizer's.
    """

    window: int
    prompt: Sequence[int] = ()
    stream: Sequence[int] = ()
    language: str | None = None


class DecodingTask:
    """What windows decoded with the same options have in common: the shape of their prompt, and the rules.

    Args:
        dims: the model's.
        tokenizer: of the language and task asked for.
        options: of decoding; temperature, best_of, beam_size and patience play no part here.

    Raises:
        OptionError: the prefix or the hotwords don't fit in the model's text context.
    """

    def __init__(self, dims: ModelDimensions, tokenizer: Tokenizer, options: DecodingOptions) -> None:
        self.tokenizer = tokenizer
        self.sample_len = options.sample_len or dims.n_text_ctx // 2
        self.n_ctx = dims.n_text_ctx
        self.length_penalty = options.length_penalty
        self.rules: tuple[LogitRule, ...] = build_rules(tokenizer, options)
        self._prompt_len = dims.n_text_ctx // 2 - 1  # 223 tokens before the start of the transcript
        self._start = tokenizer.sot_sequence
        if options.without_timestamps:
            self._start = tokenizer.sot_sequence_including_notimestamps
        self._prefix = self._prefix_tokens(options)
        self._hotwords = self._hotword_tokens(options)

    @property
    def sot_index(self) -> int:
        """Where the start of the transcript stands in every prompt, counted from its end."""
        return -len(self._start) - len(self._prefix)

    def initial_tokens(self, request: DecodeRequest) -> tuple[int, ...]:
        """What the model is given before it decodes a window."""
        room = self._prompt_len - len(self._hotwords)
        before = (*self._hotwords, *(request.prompt[-room:] if room else ()))
        start = self._start
        if request.language is not None and self.tokenizer.language is not None:
            start = (start[0], self.tokenizer.to_language_token(request.language), *start[2:])
        return (*((self.tokenizer.sot_prev,) if before else ()), *before, *start, *self._prefix)

    def _prefix_tokens(self, options: DecodingOptions) -> tuple[int, ...]:
        """As openai-whisper cuts it: to what ``sample_len`` leaves of half the context; whole by default."""
        prefix = _tokens(self.tokenizer, options.prefix)
        prefix = prefix[-(self.n_ctx // 2 - self.sample_len) :]
        room = self.n_ctx - self._prompt_len - 1 - len(self._start) - 1  # beside a full prompt and one sampled token
        if len(prefix) > room:
            raise OptionError("too long", where="prefix", expected=f"at most {room} tokens", found=len(prefix))
        return prefix

    def _hotword_tokens(self, options: DecodingOptions) -> tuple[int, ...]:
        hotwords = _tokens(self.tokenizer, options.hotwords)
        if len(hotwords) > self._prompt_len:
            raise OptionError(
                "too many",
                where="hotwords",
                expected=f"at most {self._prompt_len} tokens",
                found=f"{len(hotwords)} tokens",
                hint="give fewer or shorter words",
            )
        return hotwords


def _tokens(tokenizer: Tokenizer, text: str | Sequence[int] | None) -> tuple[int, ...]:
    if isinstance(text, str):
        return tuple(tokenizer.encode(" " + text.strip())) if text.strip() else ()
    return tuple(text or ())


def decode(
    inference: Inference, vocabulary: Vocabulary, mel: Float32, options: DecodingOptions | None = None
) -> list[DecodingResult]:
    """Decode 30 s windows with the same options, openai-whisper's ``decode``.

    Args:
        mel: (n_windows, n_mels, n_frames) float32.
        options: the defaults where None; without a language each window's is detected.

    Raises:
        OptionError: an option that is impossible for this model.
    """
    return decode_features(inference, vocabulary, inference.encode(mel), options or DecodingOptions())


def decode_features(
    inference: Inference, vocabulary: Vocabulary, features: AudioFeatures, options: DecodingOptions
) -> list[DecodingResult]:
    """``decode`` of windows that are encoded already.

    Raises:
        OptionError: an option that is impossible for this model.
    """
    multilingual = inference.dims.is_multilingual
    check_translation(inference.dims, options.task)
    tokenizer = build_tokenizer(vocabulary, multilingual=multilingual, language=options.language, task=options.task)
    prompt = _tokens(tokenizer, options.prompt)
    requests = [DecodeRequest(window, prompt, (window,)) for window in range(features.n_windows)]
    if options.language is not None or not multilingual:
        return decode_windows(inference, tokenizer, features, requests, [options])
    detected = detect_language(inference, tokenizer, features)
    requests = [
        DecodeRequest(request.window, prompt, request.stream, language.code)
        for request, language in zip(requests, detected, strict=True)
    ]
    results = decode_windows(inference, tokenizer, features, requests, [options])
    return [
        replace(result, language_probs=language.probabilities)
        for result, language in zip(results, detected, strict=True)
    ]


def decode_windows(
    inference: Inference,
    tokenizer: Tokenizer,
    features: AudioFeatures,
    requests: Sequence[DecodeRequest],
    ladder: Sequence[DecodingOptions],
    thresholds: Thresholds = NO_THRESHOLDS,
    *,
    max_windows: int | None = None,
) -> list[DecodingResult]:
    """Decode windows side by side; each result is what that window alone would give.

    Args:
        features: the encoded windows.
        requests: the windows to decode; several may name the same one.
        ladder: the options of each attempt; they may differ in temperature, best_of, beam_size and patience. A
            window climbs on when its transcript fails; where all attempts fail the last one counts.
        thresholds: what makes a transcript fail.
        max_windows: most windows in the batch, the others wait for a place; None sets no limit.

    Returns:
        a result for each request, in their order.
    """
    task = DecodingTask(inference.dims, tokenizer, ladder[0])
    waiting = deque(_Job(index, request) for index, request in enumerate(requests))
    results: dict[int, DecodingResult] = {}
    while waiting:
        n_hyps = ladder[waiting[0].attempt].n_hyps
        alike = deque(job for job in waiting if ladder[job.attempt].n_hyps == n_hyps)
        waiting = deque(job for job in waiting if ladder[job.attempt].n_hyps != n_hyps)
        pool = _Pool(inference, task, features, alike, ladder, thresholds, max_windows or len(alike))
        for job, result in pool.run():
            if result is None:
                waiting.append(job)
            else:
                results[job.index] = result
    return [results[index] for index in range(len(requests))]


@dataclass(frozen=True)
class _Job:
    """A request and which rung of the ladder it is on."""

    index: int
    request: DecodeRequest
    attempt: int = 0

    def next(self) -> _Job:
        return replace(self, attempt=self.attempt + 1)


class _Lane:
    """One window's place in the batch: a decoding in progress."""

    def __init__(self, task: DecodingTask, job: _Job, options: DecodingOptions) -> None:
        self.job = job
        self.initial_tokens = task.initial_tokens(job.request)
        self._task = task
        self._options = options
        self._search: Search = new_search(options, task.tokenizer.eot, job.request.stream)
        self._most = min(task.sample_len, task.n_ctx + 1 - len(self.initial_tokens))
        self._no_speech_prob = np.nan
        self.sources = np.arange(options.n_hyps, dtype=np.int32)
        self.moved = False  # True where hypotheses changed places at the last step

    def start(self, logits: Float32) -> None:
        """Take the first token. logits: (2, n_vocab), those at the start of the transcript and the last ones."""
        at_sot, last = logits
        weights = np.exp(at_sot - at_sot.max())
        self._no_speech_prob = float(weights[self._task.tokenizer.no_speech] / weights.sum())
        self.advance(np.repeat(last[None], self._options.n_hyps, axis=0))

    def advance(self, logits: Float32) -> None:
        """Take the next token. logits: (n_hyps, n_vocab), overwritten."""
        for rule in self._task.rules:
            rule.apply(logits, self._search.sampled)
        sources = self._search.update(logits)
        self.moved = sources is not None
        if sources is not None:
            self.sources = sources

    @property
    def last_tokens(self) -> list[int]:
        return [tokens[-1] for tokens in self._search.sampled]

    @property
    def done(self) -> bool:
        return self._search.done or len(self._search.sampled[0]) >= self._most

    def result(self) -> DecodingResult:
        tokenizer = self._task.tokenizer
        best = best_candidate(self._search.candidates(), self._task.length_penalty)
        text = tokenizer.decode(best.tokens).strip()
        return DecodingResult(
            language=self.job.request.language or tokenizer.language or "en",
            tokens=best.tokens,
            text=text,
            avg_logprob=best.sum_logprob / (len(best.tokens) + 1),
            no_speech_prob=self._no_speech_prob,
            temperature=self._options.temperature,
            compression_ratio=compression_ratio(text),
        )


class _Pool:
    """The windows whose attempt takes the same number of hypotheses, and their batch."""

    def __init__(
        self,
        inference: Inference,
        task: DecodingTask,
        features: AudioFeatures,
        jobs: deque[_Job],
        ladder: Sequence[DecodingOptions],
        thresholds: Thresholds,
        max_windows: int,
    ) -> None:
        self._task = task
        self._features = features
        self._jobs = jobs
        self._ladder = ladder
        self._thresholds = thresholds
        first = [jobs.popleft() for _ in range(min(len(jobs), max_windows))]
        self._n_hyps = ladder[first[0].attempt].n_hyps
        self._lanes = [self._lane(job) for job in first]
        self._batch: DecoderBatch = inference.new_batch(
            features.select([job.request.window for job in first]), self._n_hyps
        )

    def run(self) -> Iterable[tuple[_Job, DecodingResult | None]]:
        """Yield each window as it ends: with its result, or with None where it needs another number of hypotheses."""
        self._start(range(len(self._lanes)))
        while self._lanes:
            if any(lane.done for lane in self._lanes):
                yield from self._settle()
            else:
                self._step()

    def _lane(self, job: _Job) -> _Lane:
        return _Lane(self._task, job, self._ladder[job.attempt])

    def _start(self, places: Sequence[int]) -> None:
        prompts = [self._lanes[place].initial_tokens for place in places]
        logits = self._batch.prefill(places, prompts, [[self._task.sot_index, -1]] * len(prompts))
        for place, each in zip(places, logits, strict=True):
            self._lanes[place].start(each)

    def _step(self) -> None:
        n_hyps = self._n_hyps
        if any(lane.moved for lane in self._lanes):
            rows = [place * n_hyps + lane.sources for place, lane in enumerate(self._lanes)]
            self._batch.reorder(np.concatenate(rows).astype(np.int32))
        tokens = [token for lane in self._lanes for token in lane.last_tokens]
        logits = self._batch.step(np.array(tokens, np.int32))
        for place, lane in enumerate(self._lanes):
            lane.advance(logits[place * n_hyps : (place + 1) * n_hyps])

    def _settle(self) -> Iterable[tuple[_Job, DecodingResult | None]]:
        """Give out what is done, start the next attempt or a waiting window in its place, and close empty places."""
        started = []
        empty = []
        for place, lane in enumerate(self._lanes):
            if not lane.done:
                continue
            result = lane.result()
            job = self._next_attempt(lane.job, result)
            if job is None or self._ladder[job.attempt].n_hyps != self._n_hyps:
                yield (job, None) if job else (lane.job, result)
                job = self._waiting_job(place)
            if job is None:
                empty.append(place)
            else:
                self._lanes[place] = self._lane(job)
                started.append(self._lanes[place])
        if empty:
            kept = [place for place in range(len(self._lanes)) if place not in empty]
            self._lanes = [self._lanes[place] for place in kept]
            if kept:
                self._batch.keep(kept)
        if started:
            self._start([place for place, lane in enumerate(self._lanes) if lane in started])

    def _next_attempt(self, job: _Job, result: DecodingResult) -> _Job | None:
        last = job.attempt + 1 == len(self._ladder)
        return None if last or not self._thresholds.failed(result) else job.next()

    def _waiting_job(self, place: int) -> _Job | None:
        if not self._jobs:
            return None
        job = self._jobs.popleft()
        self._batch.replace([place], self._features.select([job.request.window]))
        return job
