"""Windows whose tokens the device chooses have the host's results, and what it can't do stays with the host."""

import gc
import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.support.fake_device import FakeDevice
from tests.support.fake_inference import DIMS, FakeInference, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.decode.attempt import Attempt, Context, DecodingTask
from whisper_max.decode.decoded import NO_THRESHOLDS, Thresholds
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.pool import DecodingPool
from whisper_max.decode.windows import decode_windows
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import build_tokenizer

MEL = np.stack([fake_mel(0, key) for key in range(12)])
THRESHOLDS = Thresholds(1.1, -1.0, None)
HOST_ONLY = [{"beam_size": 2}, {"repetition_penalty": 1.2}, {"no_repeat_ngram_size": 2}]


@cache
def tokenizer():
    return build_tokenizer(synthetic_vocabulary(), multilingual=True, language="en", task=None)


def requests(*, detect=False):
    prompts = [(), (300, 301, 302), tuple(range(1000, 1300))]
    languages = ["fr" if i % 4 == 1 and not detect else None for i in range(len(MEL))]
    return [Context(prompts[i % 3], (i,), language, detect) for i, language in enumerate(languages)]


def decode(inference, ladder, thresholds=THRESHOLDS, max_windows=None, *, detect=False):
    features = inference.encode(MEL)
    return decode_windows(
        inference, tokenizer(), features, requests(detect=detect), ladder, thresholds, max_windows=max_windows
    )


LADDERS = {
    "greedy, then samples": [DecodingOptions(temperature=t, sample_len=60) for t in (0.0, 0.4, 0.8)],
    "greedy, then several samples": [
        DecodingOptions(), DecodingOptions(temperature=0.4, best_of=2), DecodingOptions(temperature=0.8, best_of=3)
    ],
    "no timestamps": [DecodingOptions(without_timestamps=True, suppress_tokens="", length_penalty=0.5)],
    "few rules, a prefix": [DecodingOptions(max_initial_timestamp=None, suppress_blank=False, prefix=[7, 8])],
}  # fmt: skip


@pytest.mark.seconds
@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
@pytest.mark.parametrize(("max_windows", "fits"), [(1, 9), (5, 2), (None, 4), (None, 99)])
def test_the_device_gives_the_hosts_results(ladder, max_windows, fits):
    device = FakeDevice(fits=fits)
    assert decode(device, ladder, max_windows=max_windows) == decode(FakeInference(), ladder)
    assert device.shapes == []
    assert device.lent == []
    assert (device.started > len(MEL)) == (len(ladder) > 1)
    assert {places for places, *_ in device.made} == {min(max_windows or len(MEL), fits)}


@pytest.mark.parametrize("options", HOST_ONLY, ids=str)
def test_what_the_device_cannot_do_is_done_by_the_host(options):
    device, ladder = FakeDevice(), [DecodingOptions(**options)]
    assert decode(device, ladder) == decode(FakeInference(), ladder)
    assert device.started == 0


def test_windows_change_between_host_and_device_as_their_attempts_ask():
    ladder = [DecodingOptions(beam_size=2), *(DecodingOptions(temperature=t, best_of=2) for t in (0.4, 0.8))]
    device = FakeDevice()
    results = decode(device, ladder)
    assert results == decode(FakeInference(), ladder)
    beams = sum(result.temperature == 0 for result in results)
    assert 0 < beams < len(MEL)
    assert device.started >= len(MEL) - beams
    assert set(device.shapes) == {(len(MEL), 2)}


def test_a_language_is_found_out_by_the_host():
    ladder = LADDERS["greedy, then samples"]
    device = FakeDevice()
    results = decode(device, ladder, detect=True)
    assert results == decode(FakeInference(), ladder, detect=True)
    assert len({result.language for result in results}) > 1
    again = [result for result in results if result.temperature > 0]
    assert 0 < len(again) <= device.started  # by then the language is known


def test_a_device_that_chooses_wrong_tokens_is_not_asked():
    device, ladder = FakeDevice(chooses_tokens=False), LADDERS["greedy, then samples"]
    assert decode(device, ladder) == decode(FakeInference(), ladder)
    assert device.made == []


def pool_of(device, max_windows, options):
    """A pool in which every window has its own options; returns it and the windows' jobs."""
    pool = DecodingPool(device, max_windows)
    jobs = []
    for each, request in zip(options, requests(), strict=False):
        jobs.append(Attempt(DecodingTask(DIMS, tokenizer(), [each], NO_THRESHOLDS), request))
    pool.add(jobs, device.encode(MEL[: len(jobs)]))
    return pool, jobs


def drain(pool, n_jobs):
    found = {}
    while len(found) < n_jobs:
        found |= {finished: finished for finished in pool.advance()}
    return found


def test_windows_of_different_options_keep_their_own():
    greedy = DecodingOptions()
    options = [
        greedy, replace(greedy, suppress_tokens="40,41"), replace(greedy, beam_size=3), replace(greedy),
        DecodingOptions(temperature=0.5, best_of=2), replace(greedy, without_timestamps=True),
    ]  # fmt: skip
    device = FakeDevice()
    pool, jobs = pool_of(device, 6, options)
    assert len(device.lent) == 4  # the two that are alike share one
    found = drain(pool, 6)
    other, others = pool_of(FakeInference(), 6, options)
    expected = drain(other, 6)
    assert [found[job].result for job in jobs] == [expected[job].result for job in others]
    assert device.lent == []


def test_an_impossible_window_leaves_the_others_alone():
    every = list(range(DIMS.n_vocab))
    options = [DecodingOptions(), DecodingOptions(suppress_tokens=every, without_timestamps=True), DecodingOptions()]
    pool, jobs = pool_of(FakeDevice(), 3, options)
    found = drain(pool, 3)
    with pytest.raises(OptionError, match="leave no token"):
        _ = found[jobs[1]].result
    assert found[jobs[0]].result.tokens
    assert found[jobs[2]].result.tokens


def test_removed_windows_leave_and_waiting_ones_take_their_places():
    device = FakeDevice(fits=2)
    pool, jobs = pool_of(device, 5, [DecodingOptions()] * 5)
    assert (pool.room, device.started) == (0, 2)
    for _ in range(3):
        pool.advance()
    pool.remove(jobs[0])
    pool.remove(jobs[3])  # one that waits
    assert (pool.room, device.started) == (2, 3)
    found = drain(pool, 3)
    alone, others = pool_of(FakeInference(), 5, [DecodingOptions()] * 5)
    expected = drain(alone, 5)
    assert sorted(found, key=jobs.index) == [jobs[1], jobs[2], jobs[4]]
    assert [found[jobs[i]].result for i in (1, 2, 4)] == [expected[others[i]].result for i in (1, 2, 4)]
    assert device.lent == []


def test_a_pool_whose_windows_are_all_removed_gives_the_batch_back():
    device = FakeDevice()
    pool, jobs = pool_of(device, 2, [DecodingOptions()] * 2)
    for job in jobs:
        assert len(device.lent) == 1
        pool.remove(job)
    assert (device.lent, pool.room, pool.advance()) == ([], 2, [])


def test_words_are_aligned_with_the_windows_own_audio():
    device, host = FakeDevice(), FakeInference()
    (pool, jobs), (other, others) = (pool_of(each, 3, [DecodingOptions()] * 3) for each in (device, host))
    found, expected = drain(pool, 3), drain(other, 3)
    for mine, theirs in zip(jobs, others, strict=True):
        tokens, eot = [tokenizer().sot, 300, 301, tokenizer().eot], tokenizer().eot
        alignment = found[mine].align(tokens, eot)
        features = host.encode(MEL[jobs.index(mine)][None])
        batch = host.new_batch(1)
        batch.put([0], features)
        np.testing.assert_array_equal(alignment.weights, batch.align(0, tokens, eot).weights)
        assert found[mine].result == expected[theirs].result


@pytest.mark.parametrize("make", [FakeInference, FakeDevice])
def test_a_pool_that_nobody_holds_frees_its_batches_at_once(make):
    pool, _ = pool_of(make(), 3, [DecodingOptions(), DecodingOptions(beam_size=2), DecodingOptions()])
    pool.advance()
    crews = [weakref.ref(crew) for crew in pool._groups.values()]
    assert len(crews) == 2
    gc.disable()
    try:
        del pool
        assert [crew() for crew in crews] == [None, None]
    finally:
        gc.enable()
