"""A small model decoded with every token chosen by graphs, against NumPy and the host's rules, one window at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from tests.support.device_graphs import add_graphs as add_graphs
from tests.support.numpy_whisper import NumpyWhisper
from tests.support.synthetic_vocabulary import synthetic_ranks
from whisper_max.decode.attempt import Attempt, Context, DecodingTask
from whisper_max.decode.decoded import NO_THRESHOLDS, Thresholds
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import DecodingPool, new_search
from whisper_max.decode.ranking import best_candidate
from whisper_max.decode.rules import build_rules
from whisper_max.decode.windows import decode_windows
from whisper_max.engine.batch import EncodedWindows
from whisper_max.engine.gpu.decoding import DeviceDecoding
from whisper_max.engine.runtime import Placement
from whisper_max.errors import OptionError, WhisperMaxError
from whisper_max.text.tokenizer import Vocabulary, build_tokenizer

N_WINDOWS = 5
N_TEXT = 300
OPTIONS = DecodingOptions(suppress_tokens="-1,100,200", sample_len=20)


@pytest.fixture(scope="module")
def tokenizer(device_dims):
    vocabulary = Vocabulary(synthetic_ranks(N_TEXT), device_dims.n_vocab)
    return build_tokenizer(vocabulary, multilingual=True, language="en", task="transcribe")


@pytest.fixture(scope="module")
def xa(device_dims):
    shape = (N_WINDOWS, device_dims.n_audio_ctx, device_dims.n_audio_state)
    return 3 * np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def features(xa):
    return EncodedWindows(Buffer.from_numpy(xa))


class Inference:
    """A model whose graphs choose tokens, with room for ``fits`` windows; it is not to be asked for logits."""

    encode_size, chooses_tokens = 1, True
    encode: Any = staticmethod(pytest.fail)
    new_batch: Any = staticmethod(pytest.fail)

    def __init__(self, dims, graphs, fits=N_WINDOWS):
        self.dims, self._graphs, self._fits = dims, graphs, fits
        self.batches, self.n_lent = [], 0

    def device_batch(self, masks, n_windows, n_hyps, *, sampled):
        placement = Placement(CPU(), DType.float32)
        n_windows = min(n_windows, self._fits)
        batch = DeviceDecoding(
            self._graphs, self.dims, placement, masks, n_windows, n_hyps, sampled=sampled, report=pytest.fail
        )
        self.batches.append(batch)
        self.n_lent += 1
        return batch

    def give_back(self, batch):
        self.n_lent -= 1


@pytest.fixture(scope="module")
def by_numpy(device_dims, device_tensors, tokenizer, xa):
    """Decode a window as the host does, with the logits of NumPy's model; each window once for all tests."""
    model = NumpyWhisper(device_dims, device_tensors)

    @cache
    def decode(window, options):
        request = REQUESTS[window]
        task = DecodingTask(device_dims, tokenizer, [options])
        prompt = list(task.initial_tokens(request.prompt, request.language))
        limit = min(task.sample_len, task.n_ctx + 1 - len(prompt))
        rules, search = build_rules(tokenizer, options), new_search(options, tokenizer.eot, request.stream)
        while len(search.sampled[0]) < limit and not (search.sampled[0] and search.done):
            histories = [[*prompt, *tokens] for tokens in search.sampled]
            rows = [model.decode(history, xa[window])[0][-1] for history in histories]
            logits = np.stack(rows).astype(np.float32)
            for rule in rules:
                rule.apply(logits, search.sampled)
            search.update(logits)
        at_sot = model.decode(prompt, xa[window])[0][len(prompt) + task.sot_index]
        weights = np.exp(at_sot - at_sot.max())
        best = best_candidate(search.candidates(), None)
        return best.tokens, best.sum_logprob / (len(best.tokens) + 1), weights[tokenizer.no_speech] / weights.sum()

    return decode


REQUESTS = [
    Context(stream=(7,)), Context((5, 6, 7), (8,)), Context(stream=(9,)),
    Context((3,) * 30, (10,)), Context((9,), (12,)),
]  # fmt: skip


def on_device(inference, tokenizer, features, ladder, thresholds=NO_THRESHOLDS):
    results = decode_windows(inference, tokenizer, features, REQUESTS, ladder, thresholds)
    assert inference.n_lent == 0
    return results


@pytest.mark.parametrize("fits", [1, 2, 6])
@pytest.mark.parametrize(
    "options",
    [
        OPTIONS,
        replace(OPTIONS, without_timestamps=True),
        replace(OPTIONS, temperature=0.8, best_of=3),
        replace(OPTIONS, max_initial_timestamp=None, suppress_blank=False, suppress_tokens=""),
    ],
    ids=["timestamps", "text", "samples", "few rules"],
)
def test_windows_decode_as_on_the_host(device_dims, device_graphs, tokenizer, features, by_numpy, options, fits):
    inference = Inference(device_dims, device_graphs, fits)
    results = on_device(inference, tokenizer, features, [options])
    assert inference.batches[0].n_windows == min(fits, N_WINDOWS)
    assert len(results) == N_WINDOWS
    for window, result in enumerate(results):
        tokens, avg_logprob, no_speech_prob = by_numpy(window, options)
        assert result.tokens == tokens
        assert result.avg_logprob == pytest.approx(avg_logprob, abs=1e-4)
        assert result.no_speech_prob == pytest.approx(no_speech_prob, rel=1e-3)
        assert result.temperature == options.temperature


def test_windows_that_fail_are_decoded_again_at_the_next_temperature(
    device_dims, device_graphs, tokenizer, features, by_numpy
):
    ladder = [OPTIONS, replace(OPTIONS, temperature=0.6)]
    first = [by_numpy(window, OPTIONS)[1] for window in range(N_WINDOWS)]
    thresholds = Thresholds(compression_ratio=None, logprob=float(np.median(first)), no_speech=None)
    inference = Inference(device_dims, device_graphs, 3)
    results = on_device(inference, tokenizer, features, ladder, thresholds)
    expected = [ladder[logprob < thresholds.logprob] for logprob in first]
    assert [result.temperature for result in results] == [options.temperature for options in expected]
    assert 0 < sum(options.temperature > 0 for options in expected) < len(REQUESTS)
    for window, (options, result) in enumerate(zip(expected, results, strict=True)):
        assert result.tokens == by_numpy(window, options)[0]


def test_a_window_without_a_possible_token(device_dims, device_graphs, tokenizer, features):
    every = list(range(device_dims.n_vocab))
    options = replace(OPTIONS, suppress_tokens=every, without_timestamps=True)
    with pytest.raises(OptionError, match="leave no token"):
        on_device(Inference(device_dims, device_graphs), tokenizer, features, [options])


def jobs_of(tokenizer, dims):
    task = DecodingTask(dims, tokenizer, [OPTIONS])
    return [Attempt(task, request) for request in REQUESTS]


def drain(pool, n_jobs):
    found = {}
    while len(found) < n_jobs:
        found |= {finished: finished for finished in pool.advance()}
    return found


def test_a_window_whose_features_are_not_finite_leaves_the_others_alone(
    device_dims, device_graphs, tokenizer, xa, by_numpy
):
    spoiled = xa.copy()
    spoiled[2, 0, 0] = np.nan
    pool, jobs = DecodingPool(Inference(device_dims, device_graphs), N_WINDOWS), jobs_of(tokenizer, device_dims)
    pool.add(jobs, EncodedWindows(Buffer.from_numpy(spoiled)))
    found = drain(pool, N_WINDOWS)
    with pytest.raises(WhisperMaxError, match="not finite"):
        _ = found[jobs[2]].result
    for window in (0, 1, 3, 4):
        assert found[jobs[window]].result.tokens == by_numpy(window, OPTIONS)[0]


def test_windows_that_join_and_leave_midway(device_dims, device_graphs, tokenizer, features, by_numpy):
    pool, jobs = DecodingPool(Inference(device_dims, device_graphs, 3), N_WINDOWS), jobs_of(tokenizer, device_dims)
    pool.add(jobs[:2], features.select([0, 1]))
    for _ in range(4):
        assert pool.advance() == []
    pool.remove(jobs[0])
    pool.add(jobs[2:], features.select([2, 3, 4]))  # into its place, a new one, and the line
    found = drain(pool, N_WINDOWS - 1)
    for window in range(1, N_WINDOWS):
        assert found[jobs[window]].result.tokens == by_numpy(window, OPTIONS)[0]
