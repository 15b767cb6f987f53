import json
from typing import Any

import numpy as np
import pytest

from whisper_max.decode.decoded import Thresholds
from whisper_max.errors import OptionError
from whisper_max.transcribe.options import TranscribeOptions


def test_ladder_beams_at_zero_and_samples_above():
    options = TranscribeOptions(beam_size=5, best_of=3, patience=2.0, temperature=(0.0, 0.2), seed=7, language="fr")
    first, second = options.decodings
    assert (first.temperature, first.beam_size, first.patience, first.best_of) == (0.0, 5, 2.0, None)
    assert (second.temperature, second.beam_size, second.patience, second.best_of) == (0.2, None, None, 3)
    assert {(each.seed, each.language) for each in (first, second)} == {(7, "fr")}


def test_defaults():
    options = TranscribeOptions()
    assert options.temperatures == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert options.thresholds == Thresholds(2.4, -1.0, 0.6)
    assert options.clip_seconds == [0.0]
    assert [each.n_hyps for each in options.decodings] == [1] * 6
    assert TranscribeOptions(temperature=0.5).temperatures == (0.5,)


def test_every_option_of_decoding_is_handed_on():
    values: dict[str, Any] = {
        "task": "translate",
        "sample_len": 9,
        "length_penalty": 0.5,
        "prefix": " so",
        "hotwords": "abc",
        "suppress_tokens": (1,),
        "suppress_blank": False,
        "suppress_regex": "a",
        "suppress_numerals": True,
        "without_timestamps": True,
        "max_initial_timestamp": 0.5,
        "repetition_penalty": 1.5,
        "no_repeat_ngram_size": 3,
    }
    (decoding,) = TranscribeOptions(temperature=0, **values).decodings
    assert {name: getattr(decoding, name) for name in values} == values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": ()}, "temperature: no temperature given"),
        ({"temperature": (0.0, -1.0)}, "temperature: out of range"),
        ({"carry_initial_prompt": True}, "carry_initial_prompt: needs initial_prompt"),
        ({"patience": 2.0, "temperature": 0.5}, "patience: needs beam_size"),
        ({"clip_timestamps": "1,x"}, "clip_timestamps: not a list of times"),
        ({"no_speech_threshold": float("nan")}, "no_speech_threshold: not a number"),
        ({"best_of": 0}, "best_of: out of range"),
        ({"prompt_reset_on_temperature": float("nan")}, "prompt_reset_on_temperature: not a number"),
        ({"drop_unlikely": True, "logprob_threshold": None}, "drop_unlikely: needs logprob_threshold"),
        ({"hallucination_silence_threshold": 1.0}, "hallucination_silence_threshold: needs word_timestamps"),
        (
            {"hallucination_silence_threshold": -1.0, "word_timestamps": True},
            "hallucination_silence_threshold: out of range",
        ),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(OptionError) as error:
        TranscribeOptions(**options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("word_timestamps", "no", "bool"),
        ("vad", 1, "bool"),
        ("drop_unlikely", "False", "bool | None"),
        ("batch_size", "4", "int"),
        ("batch_size", 2.5, "int"),
        ("batch_size", True, "int"),
        ("batch_size", None, "int"),
        ("seed", 1.5, "int"),
        ("beam_size", "5", "int | None"),
        ("logprob_threshold", "-1", "float | None"),
        ("logprob_threshold", False, "float | None"),
        ("language", 5, "str | None"),
        ("task", None, "str"),
        ("hotwords", ["a"], "str | None"),
        ("temperature", "0", "float | Sequence[float]"),
        ("temperature", None, "float | Sequence[float]"),
        ("temperature", ["a"], "float | Sequence[float]"),
        ("temperature", [0.0, None], "float | Sequence[float]"),
        ("temperature", {0.0: 1.0}, "float | Sequence[float]"),
        ("clip_timestamps", [None], "str | Sequence[float]"),
        ("clip_timestamps", [[0, 5]], "str | Sequence[float]"),
        ("vad_options", 5, "VadOptions | Mapping[str, Any] | None"),
        ("vad_options", [1], "VadOptions | Mapping[str, Any] | None"),
        ("prefix", b"so", "str | Sequence[int] | None"),
        ("suppress_tokens", [1.5], "str | Sequence[int] | None"),
        ("suppress_tokens", [True], "str | Sequence[int] | None"),
        ("suppress_tokens", 50257, "str | Sequence[int] | None"),
    ],
)
def test_values_of_another_type_are_refused(name, value, expected):
    with pytest.raises(OptionError) as error:
        TranscribeOptions(**{name: value})
    assert str(error.value) == f"{name}: wrong type: expected {expected}, found {value!r}"


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("batch_size", np.int64(2), 2),
        ("beam_size", np.int32(3), 3),
        ("logprob_threshold", np.float32(-1.5), -1.5),
        ("drop_unlikely", np.bool_(True), True),
        ("language", np.str_("de"), "de"),
        ("temperature", np.float32(0.5), 0.5),
        ("temperature", np.array(0.5), 0.5),
        ("temperature", np.array([0.0, 0.5]), [0.0, 0.5]),
        ("temperature", (each for each in (0.0, 0.5)), [0.0, 0.5]),
        ("clip_timestamps", [np.float32(0.5), 2], [0.5, 2]),
        ("clip_timestamps", np.array([0.5, 2.0]), [0.5, 2.0]),
        ("suppress_tokens", np.array([5, 6]), [5, 6]),
        ("suppress_tokens", iter([5, 6]), [5, 6]),
        ("suppress_tokens", range(5, 7), [5, 6]),
        ("prefix", np.array([5, 6]), [5, 6]),
    ],
)
def test_numbers_of_numpy_and_any_iterables_become_pythons_own(name, value, plain):
    options = TranscribeOptions(**{name: value})
    assert json.loads(json.dumps(options.to_dict()))[name] == plain
    assert options.decodings == TranscribeOptions(**{name: plain}).decodings


def test_options_of_voice_activity_are_checked_too():
    options = TranscribeOptions(vad=True, vad_options={"threshold": np.float32(0.25)})
    assert json.loads(json.dumps(options.to_dict()))["vad_options"]["threshold"] == 0.25
    with pytest.raises(OptionError, match=r"threshold: wrong type: expected float, found '0\.5'"):
        TranscribeOptions(vad=True, vad_options={"threshold": "0.5"})
    with pytest.raises(OptionError, match="vad_options: 1: unknown option"):
        TranscribeOptions(vad=True, vad_options={1: 2})  # type: ignore[dict-item]


def test_clip_timestamps_as_text_or_numbers():
    assert TranscribeOptions(clip_timestamps="1.5,3").clip_seconds == [1.5, 3.0]
    assert TranscribeOptions(clip_timestamps=[1.5, 3]).clip_seconds == [1.5, 3.0]
    assert TranscribeOptions(clip_timestamps="").clip_seconds == []


def test_options_as_json():
    plain = json.loads(json.dumps(TranscribeOptions(suppress_tokens=(1, 2)).to_dict()))
    assert plain["temperature"] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert plain["suppress_tokens"] == [1, 2]
    assert set(plain) == set(TranscribeOptions.__dataclass_fields__)
