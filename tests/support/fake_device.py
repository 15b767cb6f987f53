"""A stand-in for a model whose device chooses tokens: the model of ``fake_inference``, with masks in place of rules.

It tells the host of a finished window some steps late, as a device does.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.support.fake_inference import FakeInference, model_logits
from whisper_max.decode.more_rules import SpeechGoesOn
from whisper_max.decode.rules import LogitRule, TimestampRules
from whisper_max.decode.sampling import SamplingSearch
from whisper_max.decode.search import GreedySearch
from whisper_max.errors import WhisperMaxError

LAG = 3


class FakeDraws:
    """A random stream whose numbers were sent ahead."""

    def __init__(self, draws):
        self._draws = iter(draws)

    def random(self, dtype):
        assert dtype == np.float32
        return next(self._draws)


class FakeWindow:
    def __init__(self, dims, masks, sampled, signature, start):
        self.dims, self.masks, self.signature, self.start = dims, masks, signature, start
        streams: Any = [FakeDraws(draws) for draws in start.draws]
        self.search = (
            SamplingSearch(masks.eot, start.temperature, streams) if sampled else GreedySearch(masks.eot)
        )  # fmt: skip
        begin = masks.timestamp_begin
        tokens: Any = SimpleNamespace(
            eot=masks.eot,
            no_timestamps=begin - 1,
            timestamp_begin=begin,
            timestamp_end=begin + 1501,
            is_timestamp=lambda token: begin <= token < begin + 1501,
        )
        self.rules: list[LogitRule] = [TimestampRules(tokens, None)] if begin < dims.n_vocab else []
        self.rules.append(SpeechGoesOn(tokens, start.earliest))
        self.error = None
        self.steps_since = 0
        at_sot = model_logits(dims, signature, start.prompt[: start.sot + 1])
        weights = np.exp(at_sot - at_sot.max())
        self.no_speech_prob = float(weights[masks.no_speech] / weights.sum())

    @property
    def done(self):
        sampled = self.search.sampled[0]
        return self.error is not None or len(sampled) == self.start.limit or bool(sampled and self.search.done)

    def advance(self):
        if self.done:
            self.steps_since += 1
            return
        histories = [[*self.start.prompt, *tokens] for tokens in self.search.sampled]
        logits = np.array([model_logits(self.dims, self.signature, history) for history in histories], np.float32)
        logits[:, self.masks.never] = -np.inf
        if not self.search.sampled[0]:
            logits[:, self.masks.not_first] = -np.inf
        try:
            for rule in self.rules:
                rule.apply(logits, self.search.sampled)
            self.search.update(logits)
        except WhisperMaxError as error:
            self.error = error


class FakeDeviceBatch:
    """Checks that it is used as the protocol says."""

    def __init__(self, inference, masks, n_windows, n_hyps, sampled):
        self.inference, self.masks, self.n_windows = inference, masks, n_windows
        self.n_hyps, self.sampled = n_hyps, sampled
        self.windows = {}

    def start(self, places, features, starts):
        assert list(places) == sorted(set(places))
        assert len(places) == features.n_windows == len(starts)
        for place, signature, start in zip(places, features.signatures, starts, strict=True):
            assert 0 <= place < self.n_windows
            assert place not in self.windows
            assert start.draws.shape == (self.n_hyps * self.sampled, self.inference.dims.n_text_ctx)
            assert (start.temperature > 0) == self.sampled
            self.windows[place] = FakeWindow(self.inference.dims, self.masks, self.sampled, signature, start)
            self.windows[place].advance()
        self.inference.started += len(places)
        self.inference.largest_batch = max(self.inference.largest_batch, len(self.windows))

    def advance(self):
        assert self.windows
        for window in self.windows.values():
            window.advance()

    def finished(self):
        return sorted(place for place, window in self.windows.items() if window.steps_since >= LAG)

    def take(self, place):
        assert place in self.finished()
        window = self.windows.pop(place)
        if window.error is not None:
            raise window.error
        sums = [candidate.sum_logprob for candidate in window.search.candidates()]
        eot = self.masks.eot
        tokens = [row[: row.index(eot) + 1] if eot in row else row for row in window.search.sampled]
        return SimpleNamespace(tokens=tokens, sum_logprobs=sums, no_speech_prob=window.no_speech_prob)

    def drop(self, place):
        del self.windows[place]


class FakeDevice(FakeInference):
    """A ``DeviceInference`` with room for ``fits`` windows a batch.

    started: windows begun on the device. shapes: n_hyps of the host's batches. lent: device batches not given back.
    """

    def __init__(self, *args, fits=1000, chooses_tokens=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.fits, self.chooses_tokens = fits, chooses_tokens
        self.started, self.shapes, self.lent, self.made = 0, [], [], []

    def new_batch(self, max_windows, n_hyps=1):
        self.shapes.append((max_windows, n_hyps))
        return super().new_batch(max_windows, n_hyps)

    def device_batch(self, masks, n_windows, n_hyps, *, sampled):
        batch = FakeDeviceBatch(self, masks, min(n_windows, self.fits), n_hyps, sampled)
        self.lent.append(batch)
        self.made.append((batch.n_windows, n_hyps, sampled))
        return batch

    def give_back(self, batch):
        assert not batch.windows
        self.lent.remove(batch)
