import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.live_world import (
    RATE,
    WORD,
    World,
    check_order,
    committed_text,
    heard,
    new_core,
    run,
    segment,
    tentative_texts,
)
from whisper_max.live.core import Heard
from whisper_max.live.events import Closed, Committed, SpeechEnded, UtteranceEnded, UtteranceStarted
from whisper_max.live.options import LIVE_VAD
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.result import Word

stretches = st.lists(st.tuples(st.integers(1, 25), st.integers(0, 2 * RATE)), min_size=1, max_size=5)
chunkings = st.lists(st.integers(300, 3 * RATE), min_size=1, max_size=5)
VADS = [None, LIVE_VAD]


@settings(max_examples=60, deadline=None)
@given(stretches, chunkings, st.sampled_from(VADS), st.integers(0, 2), st.floats(0.2, 2.0), st.floats(4.0, 30.0))
@example([(5, 25600), (1, 1)], [300], None, 2, 2.0, 4.0)  # a word that was right is misheard as the buffer is full
def test_every_word_is_committed_once_in_order(said, chunks, vad, garble, step, buffer):
    """Also from a full buffer: no silence is longer than 2 s, so the misheard words begin after its first quarter."""
    world = World(said)
    core = new_core(world, vad=vad, step=step, buffer=buffer)
    events, _ = run(world, core, chunks, lambda listening: world.hear(listening, garble))
    assert committed_text(events) == world.text


@st.composite
def ramblings(draw):
    """A model that says anything at any time."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    vocabulary = [" a", " b", " c.", " d", " Ach!", ",", " 我"]

    def hear(listening):
        seconds = len(listening.samples) / RATE
        groups = []
        for _ in range(rng.integers(0, 4)):
            borders = np.sort(rng.uniform(0, seconds + 1, 2 * rng.integers(1, 6))).reshape(-1, 2)
            groups.append([Word(str(rng.choice(vocabulary)), float(a), float(b), 0.5) for a, b in borders])
        bad = rng.random() < 0.2
        return Heard([segment(words, avg_logprob=-2.0 if bad else -0.2) for words in groups], "en", 1.0)

    return hear


@settings(max_examples=80, deadline=None)
@given(stretches, chunkings, st.sampled_from(VADS), ramblings(), st.floats(0.2, 2.0), st.floats(4.0, 30.0))
def test_whatever_the_model_says(said, chunks, vad, hear, step, buffer):
    """The stream is heard whole but for silence, in bounded pieces; events follow their order, and times ascend."""
    world = World(said)
    core = new_core(world, vad=vad, step=step, buffer=buffer)
    events, listenings = run(world, core, chunks, hear)
    assert core.position == len(world.samples)
    assert core.n_buffered <= buffer * RATE
    covered = np.zeros(len(world.samples), bool)
    for listening in listenings:
        assert 0 < len(listening.samples) <= round(buffer * RATE)
        np.testing.assert_array_equal(listening.samples, world.samples[listening.start : listening.end])
        covered[listening.start : listening.end] = True
    assert np.abs(world.samples[~covered]).max(initial=0.0) < 0.25
    check_order(events)


@settings(max_examples=20, deadline=None)
@given(stretches, chunkings)
def test_the_same_chunks_give_the_same_events(said, chunks):
    world = World(said)
    first, second = (run(world, new_core(world), chunks)[0] for _ in range(2))
    assert first == second


def test_words_are_tentative_until_two_decodings_agree():
    world = World([(10, 0)])
    events, listenings = run(world, new_core(world, vad=None), [1600])
    assert [listening.end for listening in listenings] == [17408, 34816, 51200, 64000]
    said = [
        (type(event).__name__, "".join(word.word for word in event.words))
        for event in events
        if hasattr(event, "words")
    ]
    assert said == [
        ("Tentative", " w0 w1 uh17408"),
        ("Committed", " w0 w1"),
        ("Tentative", " w2 w3 w4 uh34816"),
        ("Committed", " w2 w3 w4"),
        ("Tentative", " w5 w6. w7"),
        ("Committed", " w5 w6. w7 w8 w9"),
    ]
    assert [listening.final for listening in listenings] == [False, False, False, True]


def test_more_audio_at_once_means_longer_steps():
    world = World([(24, 0)])
    _, listenings = run(world, new_core(world, vad=None), [512 * 125])
    assert [listening.end / RATE for listening in listenings] == [4.0, 8.0, 9.6]


def test_silence_is_not_decoded():
    world = World([(0, 20 * RATE)])
    events, listenings = run(world, new_core(world), [1600])
    assert (events, listenings) == ([Closed(None)], [])


def test_a_click_is_not_decoded():
    world = World([(0, 20 * RATE)])
    world.samples[RATE * 5 : RATE * 5 + 500] = 0.9
    assert run(world, new_core(world), [1600]) == ([Closed(None)], [])


def test_a_pause_ends_the_utterance_without_another_decoding():
    world = World([(5, 3 * RATE), (5, 3 * RATE)])
    core = new_core(world)
    events, listenings = run(world, core, [512])
    ends = [event for event in events if isinstance(event, SpeechEnded)]
    assert [round(event.end, 2) for event in ends] == [2.02, 7.01]
    assert [round(listening.end / RATE, 2) for listening in listenings] == [1.02, 2.24, 5.7, 6.72, 7.23]
    assert not any(listening.final for listening in listenings)
    assert committed_text(events) == world.text
    started = [event.start for event in events if isinstance(event, UtteranceStarted)]
    assert started == [0.0, pytest.approx(5.0 - 0.3, abs=0.032)]


def test_words_before_a_cut_prompt_the_next_decoding():
    world = World([(70, 0)])
    options = TranscribeOptions(language="en", initial_prompt="About numbers.")
    _, listenings = run(world, new_core(world, vad=None, buffer=8.0, decoding=options), [RATE // 2])
    assert listenings[0].options.initial_prompt == "About numbers."
    late = listenings[-1]
    first = next(word for word in world.words if word.start >= late.start)
    before = world.text[: world.text.index(first.text)]
    assert late.options.initial_prompt.startswith("About numbers. w")
    assert before.endswith(late.options.initial_prompt.removeprefix("About numbers. "))
    assert 180 < len(late.options.initial_prompt) <= 215
    assert max(len(listening.samples) for listening in listenings) < 6 * RATE


def test_without_conditioning_only_the_initial_prompt_comes_first():
    world = World([(30, 0)])
    options = TranscribeOptions(language="en", condition_on_previous_text=False)
    _, listenings = run(world, new_core(world, vad=None, buffer=6.0, decoding=options), [RATE])
    assert {listening.options.initial_prompt for listening in listenings} == {None}


def test_text_sampled_at_a_high_temperature_is_no_prompt():
    world = World([(3, 2 * RATE), (3, RATE)])
    _, listenings = run(
        world, new_core(world), [512], lambda listening: heard([[Word(" hm", 0.1, 0.3, 0.5)]], temperature=0.8)
    )
    assert listenings[-1].start > 2.5 * RATE
    assert {listening.options.initial_prompt for listening in listenings} == {None}


def test_only_what_must_be_committed_is_decoded_again():
    world = World([(70, 0)])
    options = TranscribeOptions(language="en", temperature=(0.0, 0.5))
    core = new_core(world, vad=None, buffer=8.0, decoding=options)
    unlike = iter(range(1000))
    _, listenings = run(world, core, [RATE], lambda _: heard([[Word(f" {next(unlike)}", 0.1, 0.3, 0.5)]]))
    must = [listening for listening in listenings if listening.final or listening.forced]
    assert len(must) == 4
    assert {listening.options.temperatures for listening in must} == {(0.0, 0.5)}
    assert {each.options.temperatures for each in listenings if each not in must} == {(0.0,)}


def test_a_decoding_that_repeats_itself_commits_nothing():
    world = World([(8, 0)])
    core = new_core(world, vad=None)

    def hear(listening):
        words = [Word(" la", i / 10, i / 10 + 0.1, 0.5) for i in range(5)]
        return heard([words], compression_ratio=1.0 if listening.final else 5.0)

    events, _ = run(world, core, [1600], hear)
    assert tentative_texts(events) == [" la la la la la"]
    assert committed_text(events) == " la la la la la"
    assert isinstance(events[-2], Committed)


def test_a_full_buffer_without_words_is_dropped_but_for_its_end():
    world = World([(60, 0)])
    events, listenings = run(world, new_core(world, vad=None, buffer=8.0), [RATE], lambda _: heard([]))
    forced = [listening for listening in listenings if listening.forced]
    assert len(forced) == 3
    assert all(8 * RATE - 512 < len(listening.samples) <= 8 * RATE for listening in forced)
    assert forced[1].start == forced[0].end - 2 * RATE
    assert [type(event) for event in events] == [UtteranceStarted, Closed, UtteranceEnded]
    assert events[-1].language == ""


def test_words_that_nothing_agrees_with_leave_a_full_buffer_by_quarters():
    """Every decoding hears all words otherwise: those that begin in the first quarter can't be heard again."""
    world = World([(60, 0)])

    def hear(listening):
        inside = [word for word in world.words if listening.start <= word.start < listening.end]
        times = [((word.start - listening.start) / RATE, (word.end - listening.start) / RATE) for word in inside]
        return heard([[Word(f"{word.text}-{listening.end}", *at, 0.5) for word, at in zip(inside, times, strict=True)]])

    events, listenings = run(world, new_core(world, vad=None, buffer=8.0), [RATE], hear)
    committed = [[word.word for word in event.words] for event in events if isinstance(event, Committed)]
    first = next(listening.end for listening in listenings if listening.forced)
    assert committed[0] == [f" w{i}-{first}" for i in range(5)]  # that begin before 2.0 s
    assert [word.split("-")[0] for words in committed for word in words] == [word.text for word in world.words]
    starts = [listening.start / RATE for listening in listenings if listening.forced]
    assert starts[:4] == pytest.approx([0.0, 1.95, 3.95, 5.95])  # between the words, at the end of each quarter


def test_a_word_in_a_full_buffer_that_may_still_be_said_is_not_committed():
    world = World([(30, 0)])

    def hear(listening):
        return heard([[Word(" ohh", 0.5, len(listening.samples) / RATE, 0.5)]], avg_logprob=-2.0)

    events, listenings = run(world, new_core(world, vad=None, buffer=8.0), [RATE], hear)
    starts = [listening.start / RATE for listening in listenings if listening.forced]
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert committed_text(events) == " ohh"  # at the end


def test_the_language_of_the_first_committed_words_stays():
    world = World([(10, RATE), (5, RATE)])
    detected = iter(["nl", "de", "de", "fr", "fr", "fr", "fr", "fr"])

    def hear(listening):
        given = listening.options.language
        return Heard(world.hear(listening).segments, given or next(detected), 1.0 if given else 0.7)

    events, listenings = run(world, new_core(world), [512], hear)
    assert [listening.options.language for listening in listenings][:3] == [None, None, "de"]
    assert {listening.options.language for listening in listenings[2:]} == {"de"}
    ends = [(event.language, event.language_probability) for event in events if isinstance(event, UtteranceEnded)]
    assert ends == [("de", 0.7), ("de", 0.7)]


def test_multilingual_streams_detect_it_in_every_utterance():
    world = World([(10, RATE), (5, RATE)])
    options = TranscribeOptions(multilingual=True)

    def hear(listening):
        return Heard(world.hear(listening).segments, "de" if listening.start < 4 * RATE else "fr", 0.6)

    events, listenings = run(world, new_core(world, decoding=options), [512], hear)
    assert [event.language for event in events if isinstance(event, UtteranceEnded)] == ["de", "fr"]
    assert not any(listening.options.multilingual for listening in listenings)


def test_clearing_drops_the_utterance_and_keeps_the_clock():
    world = World([(10, 2 * RATE)])
    core = new_core(world, vad=None)
    core.push(world.samples[: RATE + 512])
    listening = core.next_listening()
    core.accept(listening, world.hear(listening))
    assert core.utterance == 0
    core.push(world.samples[RATE + 512 : RATE + 612])
    core.clear()
    assert core.utterance is None
    assert core.position == RATE + 612
    assert core.n_buffered == 0
    core.take_events()
    core.push(world.samples[RATE + 612 : 3 * WORD + RATE])
    core.close()
    listening = core.next_listening()
    assert (listening.start, listening.final) == (RATE + 612, True)
    core.accept(listening, world.hear(listening))
    events = core.take_events()
    assert events[0] == UtteranceStarted(1, (RATE + 612) / RATE)
    assert isinstance(events[-1], UtteranceEnded)


def test_closing_when_nobody_speaks_is_nothing():
    world = World([(0, RATE)])
    core = new_core(world)
    core.push(world.samples)
    core.close()
    assert core.next_listening() is None
    assert core.take_events() == [Closed(None)]


def test_a_tentative_word_that_goes_away_is_told():
    world = World([(8, 0)])
    said = iter([[Word(" uh", 0.1, 0.2, 0.5)], [], [], []])
    events, _ = run(world, new_core(world, vad=None), [1600], lambda _: heard([next(said)]))
    assert tentative_texts(events) == [" uh", ""]
