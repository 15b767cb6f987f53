"""Words that are certain by the attention of one decoding."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.live_world import RATE, World, check_order, committed_text, new_core, run
from whisper_max.checkpoint.published import MODELS
from whisper_max.errors import OptionError
from whisper_max.live.core import Heard
from whisper_max.live.events import Committed, UtteranceStarted
from whisper_max.live.options import AGREEMENT, ATTENTION, AUTO, LIVE_VAD, LiveOptions, live_policy
from whisper_max.transcribe.options import TranscribeOptions

stretches = st.lists(st.tuples(st.integers(1, 25), st.integers(0, 2 * RATE)), min_size=1, max_size=5)
chunkings = st.lists(st.integers(300, 3 * RATE), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(stretches, chunkings, st.sampled_from([None, LIVE_VAD]), st.floats(0.2, 2.0), st.floats(0.01, 1.0))
def test_every_word_is_committed_once_in_order(said, chunks, vad, step, margin):
    world = World(said)
    core = new_core(world, vad=vad, step=step, policy=ATTENTION, margin=margin)
    events, _ = run(world, core, chunks)
    assert committed_text(events).replace(".", "") == world.text.replace(".", "")
    check_order(events)


def test_words_are_certain_once_they_ended_so_long_before_the_audio_did():
    world = World([(10, 0)])  # a word begins every 0.4 s and lasts 0.3 s
    core = new_core(world, vad=None, policy=ATTENTION, margin=0.35)
    events, listenings = run(world, core, [1600])
    assert [listening.end / RATE for listening in listenings] == [1.088, 2.176, 3.2, 4.0]
    said = ["".join(word.word for word in event.words) for event in events if isinstance(event, Committed)]
    assert said == [" w0 w1", " w2 w3", " w4 w5 w6.", " w7 w8 w9"]


def test_what_ended_before_a_pause_does_not_wait_for_the_margin():
    world = World([(3, RATE)])
    core = new_core(world, policy=ATTENTION, margin=1.0, step=2.0)
    events, listenings = run(world, core, [512])
    first = next(event for event in events if isinstance(event, Committed))
    assert "".join(word.word for word in first.words) == " w0 w1 w2"
    assert not listenings[0].final


def test_a_sentence_does_not_end_where_only_the_audio_does():
    world = World([(7, 0)])  # the last word has a mark
    core = new_core(world, vad=None, policy=ATTENTION, margin=0.0, step=2.7)
    core.push(world.samples)
    listening = core.next_listening()
    core.accept(listening, world.hear(listening))
    assert [committed_text([event]) for event in core.take_events()][-1] == " w0 w1 w2 w3 w4 w5 w6"


def test_the_mark_before_a_pause_stays():
    world = World([(7, RATE)])
    events, _ = run(world, new_core(world, policy=ATTENTION, margin=0.35), [512])
    assert committed_text(events) == world.text


@pytest.mark.parametrize(("policy", "ends"), [(ATTENTION, [1.088, 1.472]), (AGREEMENT, [0.384, 0.8])])
def test_the_first_decoding_by_attention_hears_a_second(policy, ends):
    world = World([(10, 0)])
    _, listenings = run(world, new_core(world, vad=None, policy=policy, step=0.3), [1600])
    assert [listening.end / RATE for listening in listenings[:2]] == ends  # of pieces of 0.1 s, whole chunks


@pytest.mark.parametrize(("likely", "said"), [(0.7, ["", " w0 w1 w2 w3"]), (0.9, [" w0 w1", " w2 w3"])])
def test_words_that_only_the_first_decoding_has_heard_must_be_more_likely(likely, said):
    world = World([(10, 0)])
    core = new_core(world, vad=None, policy=ATTENTION, margin=0.35, sure=0.4)
    for part, expected in zip(np.split(world.samples[: 2 * 17408], 2), said, strict=True):
        core.push(part)
        listening = core.next_listening()
        segments = world.hear(listening).segments
        words = [replace(word, probability=likely) for each in segments for word in each.words]
        core.accept(listening, Heard([replace(segments[0], words=words)], "en", 1.0))
        assert committed_text(core.take_events()) == expected


def test_a_decoding_goes_on_from_what_is_certain():
    world = World([(10, 0)])
    _, listenings = run(world, new_core(world, vad=None, policy=ATTENTION, margin=0.35), [1600])
    assert [listening.options.first_prefix for listening in listenings] == [
        None,
        "w0 w1",
        "w0 w1 w2 w3",
        "w0 w1 w2 w3 w4 w5 w6.",
    ]
    _, listenings = run(world, new_core(world, vad=None), [1600])
    assert {listening.options.first_prefix for listening in listenings} == {None}


def test_audio_that_is_dropped_takes_its_words_out_of_the_prefix():
    world = World([(60, 0)])
    _, listenings = run(world, new_core(world, vad=None, policy=ATTENTION, buffer=6.0), [1600])
    last = listenings[-1]
    assert last.start > 0
    assert last.options.first_prefix is not None
    kept = [word for word in world.words if word.end > last.start]
    assert last.options.first_prefix.split()[0] in {word.text.strip() for word in kept[:2]}
    assert last.options.initial_prompt is not None


@pytest.mark.parametrize(
    ("model", "policy", "step", "whole_windows", "chosen"),
    [
        ("tiny.en", AUTO, None, True, (ATTENTION, 0.6)),
        ("tiny.en", AUTO, None, False, (ATTENTION, 0.4)),
        ("tiny.en", AUTO, 0.6, False, (ATTENTION, 0.6)),
        ("tiny.en", AGREEMENT, None, False, (AGREEMENT, 1.0)),
        ("base", AUTO, None, False, (AGREEMENT, 1.0)),
        ("base", ATTENTION, None, True, (ATTENTION, 0.6)),
        ("tiny", AUTO, 0.7, True, (AGREEMENT, 0.7)),
    ],
)
def test_policy_and_step_are_the_better_ones_of_the_model_unless_they_are_given(
    model, policy, step, whole_windows, chosen
):
    assert live_policy(policy, step, MODELS[model].dims, whole_windows=whole_windows) == chosen


def test_less_likely_words_wait_only_where_they_are_to():
    world = World([(10, 0)])  # words of 0.9
    said = []
    for sure in (0.45, 0.9, 0.91):  # decodings end after 1.1, 2.2, 3.2 and 4 s
        events, _ = run(world, new_core(world, vad=None, policy=ATTENTION, sure=sure), [1600])
        said.append([len(event.words) for event in events if isinstance(event, Committed)])
    assert said == [[2, 2, 3, 3], [4, 3, 3], [2, 3, 5]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "guess"}, "policy: unknown policy: expected agreement or attention, found 'guess'"),
        ({"margin": -0.1}, "margin: out of range"),
        ({"margin": 20.0}, "margin: out of range"),
        ({"sure": 1.1}, "sure: out of range: expected a probability, 0 to 1, found 1.1"),
        ({"margin": float("nan")}, "margin: out of range"),
    ],
)
def test_impossible_policies_are_refused(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        LiveOptions(**options)


def utterances_heard(seconds_between, **options):
    """What the decodings hear of two utterances of four words each, by utterance."""
    world = World([(4, round(seconds_between * RATE)), (4, RATE)])
    events, listenings = run(world, new_core(world, policy=ATTENTION, margin=0.35, **options), [1600])
    assert committed_text(events) == world.text
    check_order(events)
    assert sum(isinstance(event, UtteranceStarted) for event in events) == 2
    border = 4 * 6400 + seconds_between * RATE
    return [listening for listening in listenings if listening.end > border]


def test_an_utterance_goes_on_from_one_that_was_just_before_it():
    for listening in utterances_heard(1.0):
        assert listening.start == 0
        assert listening.options.initial_prompt is None
        assert listening.options.first_prefix.startswith("w0 w1 w2 w3")


@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        (4.0, {}),
        (1.0, {"buffer": 4.0}),
        (1.0, {"decoding": TranscribeOptions(multilingual=True)}),
        (1.0, {"decoding": TranscribeOptions(condition_on_previous_text=False)}),
    ],
)
def test_an_utterance_is_heard_alone_where_it_can_not_go_on(seconds, options):
    heard_then = utterances_heard(seconds, **options)
    assert heard_then[0].start >= 4 * 6400 + seconds * RATE - 0.4 * RATE
    conditions = "decoding" not in options or options["decoding"].condition_on_previous_text
    assert heard_then[0].options.initial_prompt == ("w0 w1 w2 w3" if conditions else None)
    assert heard_then[0].options.first_prefix is None


def test_nothing_goes_on_from_a_text_that_failed():
    world = World([(4, RATE), (4, RATE)])

    def hear(listening):
        return Heard([replace(each, avg_logprob=-2.0) for each in world.hear(listening).segments], "en", 1.0)

    _, listenings = run(world, new_core(world, policy=ATTENTION), [1600], hear)
    assert {listening.options.first_prefix for listening in listenings} == {None}
    assert listenings[-1].start > 4 * 6400


def test_what_failed_is_encoded_anew_where_the_utterance_ends():
    world = World([(4, RATE)])

    def hear(listening):
        failed = -0.3 if listening.final else -2.0
        return Heard([replace(each, avg_logprob=failed) for each in world.hear(listening).segments], "en", 1.0)

    for fails in (True, False):
        _, listenings = run(world, new_core(world, policy=ATTENTION), [1600], hear if fails else None)
        assert [each.anew for each in listenings] == [fails and each.final for each in listenings]
        assert any(each.final for each in listenings) == fails


def test_an_utterance_that_was_dropped_is_not_gone_on_from():
    world = World([(4, RATE), (4, RATE)])
    core = new_core(world, policy=ATTENTION)
    core.push(world.samples[:20000])
    core.accept(listening := core.next_listening(), world.hear(listening))
    core.drop_utterance()
    core.push(world.samples[20000:])
    listening = core.next_listening()
    assert listening.start >= 20000 - 512
    assert listening.options.first_prefix is None
