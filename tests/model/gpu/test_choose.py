"""Tokens chosen by the graphs against the host's rules and searches, over random logits and whole histories."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from max.driver import Buffer

from tests.support.device_graphs import CHOOSERS, OWN, Widened
from tests.support.device_graphs import add_graphs as add_graphs
from whisper_max.decode.more_rules import SpeechGoesOn
from whisper_max.decode.rules import LogitRule, SuppressBlank, SuppressTokens, TimestampRules
from whisper_max.decode.sampling import SamplingSearch
from whisper_max.decode.search import GreedySearch, log_sum_exp
from whisper_max.model.stages import BROKEN, GOING_ON, IMPOSSIBLE, ROW_STATE

EOT, NO_SPEECH, NO_TIMESTAMPS, BEGIN, N_VOCAB = 1800, 1801, 1802, 1803, 1908
N_CTX, N_ROWS = 48, 5
TOKENIZER: Any = SimpleNamespace(
    eot=EOT,
    no_timestamps=NO_TIMESTAMPS,
    timestamp_begin=BEGIN,
    timestamp_end=N_VOCAB,
    is_timestamp=lambda token: BEGIN <= token < N_VOCAB,
    encode=lambda text: [7] if text == " " else [],
)
SUPPRESSED = [3, 50, NO_SPEECH]


@pytest.fixture(scope="module", params=["by stock operations", OWN])
def device_graphs(device_graphs, request):
    """Those that choose, in both forms."""
    own = request.param == OWN
    return {name: Widened(device_graphs[f"{name} {OWN}"]) if own else device_graphs[name] for name in CHOOSERS}


class Rows:
    """What the graphs keep of some rows, and the host's rules and searches beside it."""

    def __init__(self, graphs, limits, *, timestamps, max_initial, streams=None, temperature=0.0, earliest=0):
        n = len(limits)
        self.graphs, self.limits = graphs, np.array(limits, np.int32)
        self.rules: list[LogitRule] = [SuppressBlank(TOKENIZER), SuppressTokens(SUPPRESSED)]
        if timestamps:
            self.rules.append(TimestampRules(TOKENIZER, max_initial))
            self.rules.append(SpeechGoesOn(TOKENIZER, BEGIN + earliest))
        self.earliest = np.full(n, BEGIN + earliest, np.int32)
        self.temperature = temperature
        if temperature:
            self.searches: list[Any] = [SamplingSearch(EOT, temperature, [np.random.default_rng(s)]) for s in streams]
            generators = [np.random.default_rng(s) for s in streams]
            self.draws = np.array([[g.random(dtype=np.float32) for _ in range(N_CTX)] for g in generators], np.float32)
        else:
            self.searches = [GreedySearch(EOT) for _ in limits]
        never, first = np.zeros((2, N_VOCAB), bool)
        never[SUPPRESSED] = True
        first[[7, EOT]] = True
        if timestamps:
            never[NO_TIMESTAMPS] = True
            first[:BEGIN] = True
            first[N_VOCAB if max_initial is None else BEGIN + max_initial + 1 :] = True
        self.masks = [never, first, np.array([EOT, BEGIN if timestamps else N_VOCAB, N_CTX], np.int32)]
        self.state = {name: np.zeros(n, np.int32) for name in ROW_STATE}
        self.state["lengths"] = np.arange(1, n + 1, dtype=np.int32)
        self.state["before"] = np.full(n, N_VOCAB, np.int32)
        self.state["last_timestamp"] = np.full(n, -1, np.int32)
        self.state["sum_logprobs"] = np.zeros(n, np.float32)
        self.state["transcript"] = np.zeros((n, N_CTX), np.int32)
        self.buffers = [Buffer.from_numpy(self.state[name]) for name in ROW_STATE]

    def device_step(self, logits):
        sampling = [np.full(len(self.limits), self.temperature, np.float32), self.draws] if self.temperature else []
        graph = self.graphs["sample" if self.temperature else "choose"]
        (finished,) = graph.execute(logits, *self.masks, self.limits, self.earliest, *sampling, *self.buffers)
        return finished.to_numpy()

    def active(self, row):
        sampled = self.searches[row].sampled[0]
        return len(sampled) < self.limits[row] and EOT not in sampled

    def host_step(self, logits):
        for row, search in enumerate(self.searches):
            if self.active(row):
                own = logits[row : row + 1].copy()
                for rule in self.rules:
                    rule.apply(own, search.sampled)
                search.update(own)

    def step(self, logits):
        finished = self.device_step(logits)
        self.host_step(logits)
        for row, search in enumerate(self.searches):
            sampled = search.sampled[0]
            assert self.state["transcript"][row, : len(sampled)].tolist() == sampled
            assert self.state["n_sampled"][row] == len(sampled)
            assert finished[row] == (-1 if self.active(row) else len(sampled))
            assert self.state["lengths"][row] == min(row + 1 + len(sampled), N_CTX - 1)
            expected = search.candidates()[0].sum_logprob
            assert self.state["sum_logprobs"][row] == pytest.approx(expected, rel=1e-5, abs=1e-4)


def random_logits(rng, lift):
    """Logits whose timestamps are as a whole ``lift`` likelier or less likely, one way or the other by row."""
    logits = 3 * rng.standard_normal((N_ROWS, N_VOCAB), dtype=np.float32)
    logits[:, BEGIN:] += lift * rng.standard_normal((N_ROWS, 1), dtype=np.float32)
    logits[:, EOT] += 4
    return logits


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lift=st.sampled_from([0.0, 2.0, 6.0]),
    timestamps=st.booleans(),
    max_initial=st.sampled_from([None, 0, 1, 30]),
    earliest=st.sampled_from([0, 20, 60]),
)
def test_greedy_tokens_are_the_hosts(device_graphs, seed, lift, timestamps, max_initial, earliest):
    rng = np.random.default_rng(seed)
    limits = [0, 1, 17, 18, 19]
    rows = Rows(device_graphs, limits, timestamps=timestamps, max_initial=max_initial, earliest=earliest)
    for _ in range(20):
        rows.step(random_logits(rng, lift))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), temperature=st.sampled_from([0.2, 1.0]), timestamps=st.booleans())
def test_samples_are_the_hosts(device_graphs, seed, temperature, timestamps):
    rng = np.random.default_rng(seed)
    streams = rng.integers(0, 2**32, N_ROWS)
    limits = [0, 2, 17, 18, 19]
    rows = Rows(device_graphs, limits, timestamps=timestamps, max_initial=9, streams=streams, temperature=temperature)
    for _ in range(12):
        rows.step(random_logits(rng, 3.0))


def test_of_equal_logits_the_first_token_is_taken(device_graphs):
    rows = Rows(device_graphs, [9] * N_ROWS, timestamps=False, max_initial=None)
    logits = np.zeros((N_ROWS, N_VOCAB), np.float32)
    rows.step(logits)
    assert rows.state["tokens"].tolist() == [0] * N_ROWS
    logits[:, [200, 11, 90]] = 1
    rows.step(logits)
    assert rows.state["tokens"].tolist() == [11] * N_ROWS


def test_a_finished_row_stays_as_it_is(device_graphs):
    rows = Rows(device_graphs, [9] * N_ROWS, timestamps=False, max_initial=None)
    rng = np.random.default_rng(0)
    rows.step(rng.standard_normal((N_ROWS, N_VOCAB), dtype=np.float32))
    ending = rng.standard_normal((N_ROWS, N_VOCAB), dtype=np.float32)
    ending[2, EOT] = 20
    rows.step(ending)
    kept = {name: value[2].copy() for name, value in rows.state.items()}
    for _ in range(3):
        rows.step(rng.standard_normal((N_ROWS, N_VOCAB), dtype=np.float32))
    assert all(np.array_equal(rows.state[name][2], value) for name, value in kept.items())
    assert kept["tokens"] == EOT


def test_a_draw_at_either_end_takes_a_possible_token(device_graphs):
    rows = Rows(device_graphs, [9] * N_ROWS, timestamps=False, max_initial=None, streams=range(N_ROWS), temperature=1.0)
    rows.draws = np.repeat(np.array([[0], [2**-24], [0.5], [1 - 2**-24], [1 - 2**-23]], np.float32), N_CTX, axis=1)
    logits = np.full((N_ROWS, N_VOCAB), -np.inf, np.float32)
    logits[:, [20, 1780]] = 0
    rows.device_step(logits)
    assert rows.state["tokens"].tolist() == [20, 20, 1780, 1780, 1780]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_end_their_row_and_say_so(device_graphs, value):
    rows = Rows(device_graphs, [9] * N_ROWS, timestamps=True, max_initial=None)
    logits = np.random.default_rng(0).standard_normal((N_ROWS, N_VOCAB), dtype=np.float32)
    logits[1, BEGIN + 3] = value
    logits[2, SUPPRESSED[0]] = value  # forbidden, so nobody asks
    assert rows.device_step(logits).tolist() == [GOING_ON, BROKEN, GOING_ON, GOING_ON, GOING_ON]
    assert rows.state["tokens"][1] == EOT
    assert rows.device_step(np.zeros_like(logits))[1] == 1


def test_rules_that_allow_no_token_end_their_row_and_say_so(device_graphs):
    rows = Rows(device_graphs, [0, 9, 9, 9, 9], timestamps=False, max_initial=None)
    rows.masks[0][:] = True
    assert rows.device_step(np.zeros((N_ROWS, N_VOCAB), np.float32)).tolist() == [0, *[IMPOSSIBLE] * 4]


def test_no_speech(device_graphs):
    logits = 4 * np.random.default_rng(1).standard_normal((3, N_VOCAB), dtype=np.float32)
    (probs,) = device_graphs["no_speech"].execute(logits, np.array([NO_SPEECH], np.int32))
    expected = [np.exp(row[NO_SPEECH] - log_sum_exp(row, row.max())) for row in logits]
    np.testing.assert_allclose(probs.to_numpy(), expected, rtol=1e-5)
