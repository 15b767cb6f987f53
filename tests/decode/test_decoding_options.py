import pytest

from whisper_max.decode.options import DecodingOptions
from whisper_max.errors import OptionError

IMPOSSIBLE = [
    ({"task": "lang_id"}, "task: unknown task: expected transcribe or translate, found 'lang_id'"),
    ({"beam_size": 0}, "beam_size: out of range: expected at least 1, found 0"),
    ({"best_of": 0, "temperature": 1.0}, "best_of: out of range: expected at least 1, found 0"),
    ({"beam_size": 65}, "beam_size: out of range: expected at most 64, found 65"),
    ({"best_of": 10**9, "temperature": 1.0}, "best_of: out of range: expected at most 64, found 1000000000"),
    ({"sample_len": -1}, "sample_len: out of range: expected at least 1, found -1"),
    ({"seed": -1}, "seed: out of range: expected at least 0, found -1"),
    ({"temperature": -0.1}, "temperature: out of range: expected 0 or more, found -0.1"),
    ({"temperature": float("nan")}, "temperature: out of range: expected 0 or more, found nan"),
    ({"temperature": 5e-324}, "temperature: too far from 1 for float32 logits: expected 1e-06 to 1e+06, found 5e-324"),
    ({"temperature": 1e39}, "temperature: too far from 1 for float32 logits: expected 1e-06 to 1e+06, found 1e+39"),
    ({"repetition_penalty": 1e-50}, "repetition_penalty: too far from 1 for float32 logits"),
    ({"length_penalty": 1.1}, "length_penalty: out of range: expected 0 to 1, found 1.1"),
    ({"repetition_penalty": 0.0}, "repetition_penalty: out of range: expected above 0, found 0.0"),
    ({"beam_size": 5, "best_of": 5}, "beam_size: can't be given together with best_of"),
    ({"best_of": 5}, "best_of: needs a temperature above 0"),
    ({"beam_size": 2, "temperature": 0.5}, "beam_size: needs a temperature of 0: found 0.5"),
    ({"patience": 1.0}, "patience: needs beam_size"),
    ({"patience": 0.2, "beam_size": 2}, "patience: times beam_size rounds to 0: found 0.2"),
    ({"suppress_tokens": "1,x"}, "suppress_tokens: not a list of token ids: expected ids with commas between"),
    ({"suppress_regex": "("}, "suppress_regex: not a regular expression: found '('; missing ), unterminated"),
]


@pytest.mark.parametrize(("options", "message"), IMPOSSIBLE, ids=[message.split(":")[0] for _, message in IMPOSSIBLE])
def test_impossible_options(options, message):
    with pytest.raises(OptionError) as error:
        DecodingOptions(**options)
    assert str(error.value).startswith(message)


def test_hypotheses():
    assert DecodingOptions().n_hyps == 1
    assert DecodingOptions(beam_size=5).n_hyps == 5
    assert DecodingOptions(beam_size=64).n_hyps == 64
    assert DecodingOptions(temperature=0.2, best_of=3).n_hyps == 3


@pytest.mark.parametrize(
    ("given", "ids"), [("-1", [-1]), ("5,-1, 7", [5, -1, 7]), ("", []), (None, []), ([3], [3]), ((), [])]
)
def test_suppressed_ids(given, ids):
    assert DecodingOptions(suppress_tokens=given).suppressed_ids == ids
