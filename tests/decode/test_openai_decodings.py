"""Decoding a fake model gives what openai-whisper's own decoding gives (``dump_decoding_reference.py``)."""

import json
from pathlib import Path

import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, checksum, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary as vocabulary
from whisper_max.decode.attempt import Context
from whisper_max.decode.language import detect_language
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.windows import decode_windows
from whisper_max.text.tokenizer import build_tokenizer

SCENARIOS = json.loads((Path(__file__).parent / "data" / "openai_decodings.json").read_text(encoding="utf-8"))
TOLERANCE = 5e-5  # PyTorch's float32 log_softmax over 51865 values is itself off by up to 3e-5; NumPy's by 5e-7


@pytest.mark.parametrize("first", range(0, len(SCENARIOS), 50))
def test_decodings_are_openai_whispers(first):
    for scenario in SCENARIOS[first : first + 50]:
        result = run(scenario)
        expected = scenario["expected"]
        exact = {"language", "tokens", "text", "temperature"}
        assert {name: getattr(result, name) for name in exact} == {name: expected[name] for name in exact}, scenario
        for name in ("avg_logprob", "no_speech_prob", "compression_ratio"):
            assert getattr(result, name) == pytest.approx(expected[name], abs=TOLERANCE), (name, scenario)


def run(scenario):
    inference = FakeInference(ENGLISH_DIMS if scenario["english"] else DIMS, known_by=checksum)
    options = DecodingOptions(**scenario["options"])
    english = scenario["english"]
    tokenizer = build_tokenizer(
        vocabulary(english=english), multilingual=not english, language=options.language, task=options.task
    )
    features = inference.encode(fake_mel(0, scenario["key"])[None, :, :3000])
    language = None if options.language else detect_language(inference, tokenizer, features)[0].code
    prompt = options.prompt
    if isinstance(prompt, str):
        prompt = tokenizer.encode(" " + prompt.strip()) if prompt else []
    request = Context(prompt or (), (scenario["key"],), language)
    return decode_windows(inference, tokenizer, features, [request], [options])[0]
