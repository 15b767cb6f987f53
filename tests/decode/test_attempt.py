from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, checksum, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.decode.attempt import Context, DecodingTask
from whisper_max.decode.decoded import Thresholds
from whisper_max.decode.language import detect_language
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.windows import decode, decode_windows
from whisper_max.errors import OptionError
from whisper_max.text.tokenizer import build_tokenizer

TEMPERATURES = (0.0, 0.4, 0.8)


@cache
def tokenizer():
    return build_tokenizer(vocabulary(), multilingual=True, language="en", task=None)


def windows(count):
    return np.stack([fake_mel(0, key) for key in range(count)])


def requests(count):
    prompts = [(), (300, 301, 302), tuple(range(1000, 1300))]
    return [Context(prompts[i % 3], (i,), "fr" if i % 4 == 1 else None) for i in range(count)]


LADDERS = {
    "greedy then samples": [DecodingOptions(temperature=t) for t in TEMPERATURES],
    "beams, then as many samples": [
        DecodingOptions(beam_size=3),
        *(DecodingOptions(temperature=t, best_of=3) for t in TEMPERATURES[1:]),
    ],
    "greedy, then several samples": [
        DecodingOptions(),
        *(DecodingOptions(temperature=t, best_of=2) for t in TEMPERATURES[1:]),
    ],
    "beams, then one sample": [
        DecodingOptions(beam_size=2),
        *(DecodingOptions(temperature=t) for t in TEMPERATURES[1:]),
    ],
}


@pytest.mark.seconds
@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
def test_results_do_not_depend_on_the_batch(ladder):
    inference = FakeInference(known_by=checksum)
    features = inference.encode(windows(16))
    thresholds = Thresholds(1.1, -1.0, None)
    alone = [
        decode_windows(inference, tokenizer(), features.select([i]), [each], ladder, thresholds)[0]
        for i, each in enumerate(requests(16))
    ]
    assert {result.temperature for result in alone} == set(TEMPERATURES)
    for max_windows in (1, 3, 8, None):
        inference.largest_batch = 0
        together = decode_windows(
            inference, tokenizer(), features, requests(16), ladder, thresholds, max_windows=max_windows
        )
        assert together == alone
        assert inference.largest_batch == (max_windows or 16)
    backwards = decode_windows(
        inference,
        tokenizer(),
        features.select(range(15, -1, -1)),
        requests(16)[::-1],
        ladder,
        thresholds,
        max_windows=3,
    )
    assert backwards == alone[::-1]


def test_only_failed_windows_are_decoded_again():
    inference = FakeInference()
    features = inference.encode(windows(8))
    ladder = LADDERS["greedy then samples"]
    once = decode_windows(inference, tokenizer(), features, requests(8), ladder[:1])
    thresholds = Thresholds(None, -0.6, None)
    again = decode_windows(inference, tokenizer(), features, requests(8), ladder, thresholds)
    good = [i for i, result in enumerate(once) if not thresholds.failed(result)]
    assert 0 < len(good) < 8
    assert [again[i] for i in good] == [once[i] for i in good]
    assert {again[i].temperature for i in range(8) if i not in good} <= {0.4, 0.8}


def test_last_attempt_counts_when_all_fail():
    inference = FakeInference()
    features = inference.encode(windows(2))
    ladder = LADDERS["greedy then samples"]
    results = decode_windows(inference, tokenizer(), features, requests(2), ladder, Thresholds(None, 1.0, None))
    assert [result.temperature for result in results] == [0.8, 0.8]


def test_prompt_layout():
    t = tokenizer()
    task = DecodingTask(DIMS, t, [DecodingOptions(prefix=[7, 8], hotwords="abc")])
    hotwords = t.encode(" abc")
    start = [t.sot, t.language_token, t.transcribe, 7, 8]
    assert list(task.initial_tokens((), None)) == [t.sot_prev, *hotwords, *start]
    long = task.initial_tokens(range(1000), None)
    assert list(long) == [t.sot_prev, *hotwords, *range(1000 - 223 + len(hotwords), 1000), *start]
    assert long[task.sot_index] == t.sot
    bare = DecodingTask(DIMS, t, [DecodingOptions(without_timestamps=True)])
    german = bare.initial_tokens((), "de")
    assert german == (t.sot, t.to_language_token("de"), t.transcribe, t.no_timestamps)


def test_of_long_hotwords_and_prompts_the_last_tokens_count():
    t = tokenizer()
    task = DecodingTask(DIMS, t, [DecodingOptions(hotwords=" ".join(f"word{n}" for n in range(100_000)))])
    _, *before, start, language, _ = task.initial_tokens(range(1000), None)
    assert (len(before), start, language) == (223, t.sot, t.language_token)
    assert t.decode(before).endswith(" word99998 word99999")


def test_sample_len_limits_the_transcript_and_cuts_the_prefix():
    task = DecodingTask(DIMS, tokenizer(), [DecodingOptions(sample_len=221, prefix=[1, 2, 3, 4, 5])])
    assert task.initial_tokens((), None)[-4:] == (tokenizer().transcribe, 3, 4, 5)
    inference = FakeInference()
    features = inference.encode(windows(4))
    results = decode_windows(inference, tokenizer(), features, requests(4), [DecodingOptions(sample_len=3)])
    assert [len(result.tokens) for result in results] == [3, 3, 3, 3]


def test_the_transcript_ends_with_the_text_context():
    never = [DecodingOptions(suppress_tokens=[50257], sample_len=400)]
    inference = FakeInference()
    features = inference.encode(windows(1))
    (result,) = decode_windows(inference, tokenizer(), features, [Context(range(300, 600))], never)
    assert len(result.tokens) == 448 + 1 - (1 + 223 + 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": [5, DIMS.n_vocab]}, "prefix: no such token: expected ids from 0 to 51864, found 51865"),
        ({"prefix": [-1]}, "prefix: no such token: expected ids from 0 to 51864, found -1"),
        ({"prefix": [5] * 300}, "prefix: too long: expected at most 220 tokens, found 300"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        DecodingTask(DIMS, tokenizer(), [DecodingOptions(**options)])


def test_a_prompt_of_no_such_tokens_is_refused():
    with pytest.raises(OptionError, match="prompt: no such token: expected ids from 0 to 51864, found 1000000000"):
        decode(FakeInference(), vocabulary(), windows(1), DecodingOptions(prompt=[5, 10**9]))


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
def test_each_token_has_its_log_probability_where_asked_for(ladder):
    asked = [replace(options, token_logprobs=True) for options in ladder]
    inference = FakeInference(known_by=checksum)
    features = inference.encode(windows(4))
    thresholds = Thresholds(1.1, -1.0, None)
    plain = decode_windows(inference, tokenizer(), features, requests(4), ladder, thresholds)
    told = decode_windows(inference, tokenizer(), features, requests(4), asked, thresholds)
    for before, after in zip(plain, told, strict=True):
        assert before.token_logprobs is None
        assert len(after.token_logprobs) == len(after.tokens)
        assert replace(after, token_logprobs=None) == before
        assert sum(after.token_logprobs) >= after.avg_logprob * (len(after.tokens) + 1) - 1e-3  # without the end's


def test_a_transcript_that_is_begun_has_what_it_begins_with():
    inference = FakeInference(known_by=checksum)
    features = inference.encode(windows(2))
    begun = (tokenizer().timestamp_begin, 300, 301)
    ladder = [DecodingOptions(token_logprobs=True, sample_len=5)]
    asked = [Context((), (0,), begun=begun), Context((), (1,))]
    first, second = decode_windows(inference, tokenizer(), features, asked, ladder)
    assert tuple(first.tokens[:3]) == begun
    assert len(first.tokens) <= 5 + 3
    assert first.token_logprobs[:3] == [0.0] * 3
    assert len(first.token_logprobs) == len(first.tokens)
    alone = decode_windows(inference, tokenizer(), features.select([1]), asked[1:], ladder)
    assert alone == [second]
    assert (
        first.no_speech_prob
        == decode_windows(inference, tokenizer(), features, [Context()] * 2, ladder)[0].no_speech_prob
    )


def test_detected_language():
    inference = FakeInference()
    detected = detect_language(inference, tokenizer(), inference.encode(windows(3)))
    for language in detected:
        assert len(language.probabilities) == 99
        assert sum(language.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        assert language.probability == max(language.probabilities.values())
    assert len({language.code for language in detected}) > 1


def test_decode_detects_the_language_of_each_window():
    inference = FakeInference()
    results = decode(inference, vocabulary(), windows(3), DecodingOptions(prompt="abc"))
    detected = detect_language(inference, tokenizer(), inference.encode(windows(3)))
    assert [result.language for result in results] == [language.code for language in detected]
    assert [result.language_probs for result in results] == [language.probabilities for language in detected]
    (given,) = decode(inference, vocabulary(), windows(1), DecodingOptions(prompt="abc", language=detected[0].code))
    assert (given.tokens, given.language_probs) == (results[0].tokens, None)


def test_english_only_models_detect_nothing():
    english = vocabulary(english=True)
    inference = FakeInference(ENGLISH_DIMS)
    (result,) = decode(inference, english, windows(1))
    assert (result.language, result.language_probs) == ("en", None)
    with pytest.raises(OptionError, match="an English-only model can't detect languages"):
        detect_language(inference, build_tokenizer(english, multilingual=False, language=None, task=None), None)


def test_no_windows():
    assert decode_windows(FakeInference(), tokenizer(), None, [], [DecodingOptions()]) == []
