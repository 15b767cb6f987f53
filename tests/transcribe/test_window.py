from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_inference import DIMS
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.decode.attempt import DecodingTask
from whisper_max.decode.decoded import Decoded
from whisper_max.text.tokenizer import build_tokenizer
from whisper_max.transcribe.clips import seek_clips
from whisper_max.transcribe.options import TranscribeOptions
from whisper_max.transcribe.window import Piece

BEGIN = 50364


@cache
def tokenizer():
    return build_tokenizer(synthetic_vocabulary(), multilingual=True, language="en", task=None)


def text(words):
    return tokenizer().encode(words)


def task(n_frames=9000, **options):
    wanted = TranscribeOptions(**options)
    return Piece(n_frames, 448, tokenizer(), wanted, seek_clips(wanted.clip_seconds, n_frames))


def decoded(tokens, **values):
    fields = {"avg_logprob": -0.3, "no_speech_prob": 0.1, "temperature": 0.0, "compression_ratio": 1.0} | values
    return Decoded("en", tokens, "", **fields)


def advance(file, tokens, **values):
    window = file.next_window()
    return window, file.commit(file.cut(window, decoded(tokens, **values)))


def at(seconds):
    return BEGIN + round(seconds * 50)


def test_pairs_of_timestamps_make_segments_and_the_unfinished_one_is_decoded_again():
    file = task()
    tokens = [at(0), *text(" abc"), at(2), at(2.5), *text(" def"), at(6), at(6), *text(" gh")]
    window, segments = advance(file, tokens)
    assert (window.seek, window.size, window.prompt) == (0, 3000, ())
    assert [(each.start, each.end, each.text) for each in segments] == [(0, 2, " abc"), (2.5, 6, " def")]
    assert file.next_window().seek == 600
    _, (segment,) = advance(file, [at(1), *text(" gh"), at(3)])
    assert (segment.seek, segment.start, segment.end) == (600, 6, 9)


def test_each_segment_has_the_log_probabilities_of_its_tokens():
    file = task()
    tokens = [at(0), *text(" abc"), at(2), at(2.5), *text(" def"), at(6), at(6), *text(" gh")]
    logprobs = [-float(number) for number in range(len(tokens))]
    _, segments = advance(file, tokens, token_logprobs=logprobs)
    parts = [(each.tokens, each.token_logprobs) for each in segments]
    first = len(text(" abc")) + 2
    second = first + len(text(" def")) + 2
    assert parts == [(tokens[:first], logprobs[:first]), (tokens[first:second], logprobs[first:second])]
    assert segments[0].to_dict()["token_logprobs"] == logprobs[:first]
    _, (blank, *_) = advance(file, [at(1), at(1), at(1)], token_logprobs=[-1.0] * 3)
    assert (blank.tokens, blank.token_logprobs) == ([], [])


def test_windows_may_be_shorter():
    file = task(n_frames=2500, chunk_length=10)
    sizes = []
    while (window := file.next_window()) is not None:
        sizes.append((window.seek, window.size))
        file.commit(file.cut(window, decoded(text(" abc"))))
    assert sizes == [(0, 1000), (1000, 1000), (2000, 500)]


def test_the_first_window_may_be_begun():
    begin, words = tokenizer().timestamp_begin, tuple(tokenizer().encode(" Well then"))
    assert task(first_prefix="Well then").next_window().begun == (begin, *words)
    assert task(first_prefix="Well then", without_timestamps=True).next_window().begun == words
    assert task(first_prefix="Well then", clip_timestamps=[1.0]).next_window().begun == ()
    assert task().next_window().begun == ()
    file = task(first_prefix="a" * 3000)
    assert len(file.next_window().begun) <= 224
    advance(file, [at(0), *text(" abc"), at(2), at(2)])
    assert file.next_window().begun == ()


def test_a_single_last_timestamp_ends_the_window():
    file = task()
    _, segments = advance(file, [at(0), *text(" abc"), at(2), at(2), *text(" def"), at(6)])
    assert [(each.start, each.end) for each in segments] == [(0, 2), (2, 6)]
    assert file.next_window().seek == 3000


def test_without_a_pair_there_is_one_segment_to_the_last_timestamp_or_the_window_end():
    file = task(4000)
    _, (segment,) = advance(file, [at(1), *text(" abc"), at(8)])
    assert (segment.start, segment.end) == (0, 8)
    window, (segment,) = advance(file, [at(0), *text(" abc")])
    assert (window.seek, window.size) == (3000, 1000)
    assert (segment.start, segment.end) == (30, 40)
    assert file.next_window() is None
    assert file.seek == 4000


def test_silence_is_skipped_unless_the_text_is_likely():
    file = task()
    assert advance(file, text(" abc"), no_speech_prob=0.9, avg_logprob=-1.5)[1] == []
    window, segments = advance(file, text(" abc"), no_speech_prob=0.9)
    assert (window.seek, len(segments)) == (3000, 1)


@pytest.mark.parametrize(
    ("options", "values", "kept"),
    [
        ({"vad": True}, {"avg_logprob": -1.1, "temperature": 0.6}, 0),
        ({"drop_unlikely": True}, {"avg_logprob": -1.1, "temperature": 1.0}, 0),
        ({"vad": True}, {"avg_logprob": -1.0, "temperature": 1.0}, 1),
        ({"vad": True}, {"avg_logprob": -5.0, "temperature": 0.4}, 1),
        ({"vad": True, "logprob_threshold": None}, {"avg_logprob": -5.0, "temperature": 1.0}, 1),
        ({"vad": True, "drop_unlikely": False}, {"avg_logprob": -5.0, "temperature": 1.0}, 1),
        ({}, {"avg_logprob": -5.0, "temperature": 1.0}, 1),
    ],
)
def test_what_no_temperature_makes_likely_is_no_speech_when_asked(options, values, kept):
    file = task(**options)
    assert len(advance(file, text(" abc"), **values)[1]) == kept
    assert file.next_window().seek == 3000


@pytest.mark.parametrize(("limit", "prompted"), [(0.5, False), (0.6, True), (0.9, True)])
def test_text_of_a_high_temperature_prompts_nothing(limit, prompted):
    file = task(prompt_reset_on_temperature=limit)
    advance(file, text(" abc"), temperature=0.6)
    assert file.next_window().prompt == (tuple(text(" abc")) if prompted else ())


def test_empty_and_instantaneous_segments_are_blank_but_counted():
    file = task()
    tokens = [at(1), *text(" "), at(2), at(2), *text(" abc"), at(2), at(2), *text(" def"), at(3), at(3)]
    _, segments = advance(file, tokens)
    assert [(each.text, each.tokens) for each in segments[:2]] == [("", []), ("", [])]
    assert segments[2].text == " def"
    assert list(file.next_window().prompt) == segments[2].tokens


def test_prompts_follow_the_text_and_are_dropped_after_a_high_temperature():
    file = task(20_000, initial_prompt="xyz")
    first = [at(0), *text(" abc"), at(5)]
    prompts = [advance(file, first, temperature=temperature)[0].prompt for temperature in (0, 0.4, 0.6, 0)]
    initial = text(" xyz")
    assert [list(prompt) for prompt in prompts] == [initial, initial + first, initial + first * 2, []]


def test_prompts_without_conditioning():
    first = [at(0), *text(" abc"), at(5)]
    file = task(20_000, initial_prompt="xyz", condition_on_previous_text=False)
    assert [list(advance(file, first)[0].prompt) for _ in range(3)] == [text(" xyz"), [], []]
    file = task(20_000, initial_prompt="xyz", condition_on_previous_text=False, carry_initial_prompt=True)
    assert [list(advance(file, first)[0].prompt) for _ in range(3)] == [text(" xyz")] * 3


def test_a_carried_prompt_stays_in_front_of_the_newest_text():
    file = task(90_000, initial_prompt="xyz", carry_initial_prompt=True)
    spoken = [at(0), *range(1000, 1100), at(5)]
    for _ in range(5):
        advance(file, spoken)
    prompt = list(file.next_window().prompt)
    initial = text(" xyz")
    assert prompt == initial + (spoken * 5)[-(223 - len(initial)) :]


@pytest.mark.parametrize(("initial", "kept"), [("xyz", slice(None)), ("xyz " * 200, slice(-200, None))])
def test_a_carried_prompt_reaches_the_model_behind_hotwords_and_before_any_text(initial, kept):
    file = task(90_000, initial_prompt=initial, carry_initial_prompt=True, hotwords="abc " * 12)
    spoken = [at(0), *range(1000, 1100), at(5)]
    for _ in range(5):
        advance(file, spoken)
    decoding = DecodingTask(DIMS, tokenizer(), file.options.decodings)
    before = decoding.initial_tokens(file.next_window().prompt, None)[1:-3]  # sot_prev; sot, language, task
    hotwords = text(" " + ("abc " * 12).strip())
    carried = text(" " + initial.strip())[kept]
    assert len(before) == 223
    assert list(before[: len(hotwords) + len(carried)]) == hotwords + carried
    assert set(before[len(hotwords) + len(carried) :]) <= set(spoken)


def test_clips_are_taken_in_turn():
    file = task(clip_timestamps="10,15,50")
    windows = []
    while (window := file.next_window()) is not None:
        windows.append((window.seek, window.size))
        file.commit(file.cut(window, decoded([at(0), *text(" abc"), at(3)])))
    assert windows == [(1000, 500), (5000, 3000), (8000, 1000)]


def test_nothing_to_do_in_an_empty_recording():
    assert task(0).next_window() is None


token = st.one_of(st.integers(0, 50256), st.integers(BEGIN, BEGIN + 1500), st.just(BEGIN))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 12_000), st.lists(st.lists(token, max_size=12), min_size=1, max_size=8), st.data())
def test_any_decoding_moves_on_and_the_end_is_reached(n_frames, decodings, data):
    file = task(n_frames, no_speech_threshold=data.draw(st.sampled_from([None, 0.05])), logprob_threshold=None)
    seeks = []
    while (window := file.next_window()) is not None:
        assert 1 <= window.size <= min(3000, n_frames - window.seek)
        assert len(window.prompt) <= 223
        result = decoded(decodings[len(seeks) % len(decodings)])
        file.commit(file.cut(window, result))
        seeks.append(window.seek)
    assert seeks == sorted(set(seeks))
    assert file.seek == n_frames


@pytest.mark.parametrize("count", [0, 1])
def test_a_decoding_that_stands_still_moves_on_by_a_window(count):
    file = task()
    advance(file, [*text(" abc") * count, BEGIN, BEGIN, *text(" def")])
    assert file.next_window().seek == 3000
