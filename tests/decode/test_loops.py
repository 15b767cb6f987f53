from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.support import fake_inference
from tests.support.fake_inference import DIMS, FakeInference, checksum, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.decode.attempt import Attempt, Context, DecodingTask
from whisper_max.decode.contract import Alignment
from whisper_max.decode.decoded import Thresholds
from whisper_max.decode.loop import Loop
from whisper_max.decode.loops import MOST_LOOPS, ForbidLoops, first_loop, is_said, places
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import DecodingPool
from whisper_max.text.tokenizer import build_tokenizer


@cache
def tokenizer():
    return build_tokenizer(vocabulary(), multilingual=True, language="en", task=None)


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ([7] * 12, Loop((7,), 0, 12)),
        ([1, 2, *[7] * 12], Loop((7,), 2, 12)),
        ([9, *[1, 2, 3] * 4], Loop((1, 2, 3), 1, 4)),
        (list(range(10)) * 3, Loop(tuple(range(10)), 0, 3)),
        (list(range(75)) * 2 + list(range(75)), Loop(tuple(range(75)), 0, 3)),
        ([7] * 11, None),
        ([1, 2, 3] * 3, None),
        (list(range(10)) * 2, None),
        (list(range(100)), None),
        ([1, 2, 3, 1, 2, 4] * 2, None),
    ],
)
def test_a_loop_is_the_same_tokens_again_and_again(text, loop):
    assert first_loop(text) == loop


def test_a_loop_is_found_as_soon_as_it_is_long_enough():
    assert first_loop([5, *[1, 2, 3] * 50]) == Loop((1, 2, 3), 1, 4)


@pytest.mark.parametrize("period", [1, 2, 3, 5, 6, 10])
def test_what_was_repeated_can_be_said_once_more_and_not_twice(period):
    words = tuple(range(100, 100 + period))
    rule = ForbidLoops([Loop(words, 0, 4)], tokenizer())
    said = [tokenizer().timestamp_begin, *words]
    for token in words[: 1 if period == 1 else period]:
        logits = np.zeros((1, DIMS.n_vocab), np.float32)
        rule.apply(logits, [said])
        if np.isneginf(logits[0, token]):
            assert np.isneginf(logits).sum() == 1  # and everything else may be said
            return
        said.append(token)
    pytest.fail("it may be said again and again")


def heard_at(positions, width=3):
    """An alignment of two heads that hear each token around a position."""
    distance = np.abs(np.arange(1500) - np.asarray(positions)[:, None]) / width
    weights = np.exp(-np.minimum(distance, 50)).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    return Alignment(np.stack([weights, weights]), np.ones(len(positions), np.float32))


def test_places_are_where_the_attention_is():
    assert places(heard_at([100, 700, 1400]).weights) == pytest.approx([100, 700, 1400], abs=1)


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        ([100, 200, 300, 400], True),
        ([100, 130, 160, 190], True),
        ([100, 200, 300, 310], False),
        ([500, 500, 500, 500], False),
        ([100, 400, 50, 300], False),
        ([400, 300, 200, 100], False),
    ],
)
def test_what_is_said_again_is_heard_later(starts, said):
    loop = Loop((1, 2, 3), 2, 4)
    before = [0, 0, 0, 10, 20]  # three tokens before the text and two before the loop
    positions = [*before, *(start + 10 * i for start in starts for i in range(3)), 1499]
    assert is_said(loop, heard_at(positions), 3) is said


class Talker:
    """A model that says one thing over and over, and another where that is forbidden; its attention moves or stands."""

    def __init__(self, monkeypatch, cycle, otherwise, step):
        self.cycle, self.otherwise, self.step, self.aligned = cycle, otherwise, step, 0
        monkeypatch.setattr(fake_inference, "model_logits", self.logits)
        monkeypatch.setattr(fake_inference, "FakeAlignment", self.align)

    def logits(self, dims, signature, history):
        logits = np.full(dims.n_vocab, -20.0, np.float32)
        text = [token for token in history if tokenizer().is_text(token)]
        left = self.otherwise in text
        logits[self.otherwise + len(text) if left else self.cycle[len(text) % len(self.cycle)]] = 5
        logits[self.otherwise] = -20 if left else -5
        if len(text) > 60:
            logits[tokenizer().eot] = 30
        return logits

    def align(self, dims, signature, tokens, eot):
        self.aligned += 1
        return heard_at([min(100 + self.step * i, 1499) for i in range(len(tokens))])


def decode(options, n_windows=1, *, forbids_loops=True, thresholds=None):
    inference = FakeInference(known_by=checksum)
    task = DecodingTask(
        DIMS, tokenizer(), options, thresholds or Thresholds(None, None, None), forbids_loops=forbids_loops
    )
    attempts = [Attempt(task, Context(stream=(i,))) for i in range(n_windows)]
    pool = DecodingPool(inference, n_windows)
    pool.add(attempts, inference.encode(np.stack([fake_mel(0, key) for key in range(n_windows)])))
    left = []
    while len(left) < n_windows:
        left += pool.advance()
    return [attempt.result for attempt in attempts]


GREEDY = DecodingOptions(without_timestamps=True, suppress_tokens="")
CYCLE, OTHERWISE = (300, 301, 302), 400
WAYS = [GREEDY, replace(GREEDY, beam_size=2)]


@pytest.mark.parametrize("options", WAYS, ids=["greedy", "beams"])
def test_a_loop_that_nobody_says_is_decoded_again_without_it(monkeypatch, options):
    Talker(monkeypatch, CYCLE, OTHERWISE, step=0)
    (result,) = decode([options])
    assert result.tokens.count(300) <= 2
    assert OTHERWISE in result.tokens
    assert [(loop.tokens, loop.repeats) for loop in result.loops] == [(CYCLE, 4)]
    assert result.temperature == 0


@pytest.mark.parametrize("options", WAYS, ids=["greedy", "beams"])
def test_what_somebody_says_again_and_again_stays(monkeypatch, options):
    talker = Talker(monkeypatch, CYCLE, OTHERWISE, step=20)
    (result,) = decode([options])
    (without,) = decode([options], forbids_loops=False)
    assert (result.tokens, result.avg_logprob, result.loops) == (without.tokens, without.avg_logprob, ())
    assert len(result.tokens) > 50
    assert talker.aligned == 1  # asked once


def test_a_window_that_goes_from_loop_to_loop_is_left_to_the_temperatures(monkeypatch):
    class Stubborn(Talker):
        def logits(self, dims, signature, history):
            logits = np.full(dims.n_vocab, -20.0, np.float32)
            logits[300:340] = np.arange(40, 0, -1)  # one token over and over, and where it is forbidden the next
            if len(history) > 100:
                logits[tokenizer().eot] = 60
            return logits

    Stubborn(monkeypatch, CYCLE, OTHERWISE, step=0)
    (result,) = decode([GREEDY, replace(GREEDY, temperature=0.5)], thresholds=Thresholds(2.4, None, None))
    assert len(result.loops) == MOST_LOOPS
    assert result.temperature == 0.5


def test_loops_do_not_depend_on_the_batch(monkeypatch):
    class Various(Talker):
        def logits(self, dims, signature, history):
            self.cycle = tuple(range(300, 301 + signature % 7))
            return super().logits(dims, signature, history)

    Various(monkeypatch, CYCLE, OTHERWISE, step=0)
    together = decode([GREEDY], 6)
    assert len({result.loops[0].tokens for result in together}) > 2
    inference = FakeInference(known_by=checksum)
    for i, expected in enumerate(together):
        pool = DecodingPool(inference, 1)
        attempt = Attempt(
            DecodingTask(DIMS, tokenizer(), [GREEDY], Thresholds(None, None, None), forbids_loops=True),
            Context(stream=(i,)),
        )
        pool.add([attempt], inference.encode(fake_mel(0, i)[None]))
        while not pool.advance():
            pass
        assert attempt.result == expected


@pytest.mark.parametrize("before", [0, 520, 525, 530, 1060])
def test_a_loop_is_found_however_much_was_said_before(before):
    loop = first_loop([*range(1000, 1000 + before), *[1, 2, 3] * 5])
    assert loop == Loop((1, 2, 3), before, 4)
