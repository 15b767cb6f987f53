from dataclasses import replace

import pytest

from tests.support.fake_inference import DIMS, ENGLISH_DIMS, FakeInference, fake_mel
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.decode.language import DetectedLanguage, check_translation, most_likely_language
from whisper_max.decode.options import DecodingOptions
from whisper_max.decode.windows import decode
from whisper_max.errors import OptionError


def window(code, probability):
    return DetectedLanguage(code, {code: probability, "zz": 1 - probability})


def test_the_first_sure_window_decides_and_no_more_are_asked_for():
    asked = []

    def windows():
        for each in [window("de", 0.4), window("fr", 0.51), window("de", 0.9)]:
            asked.append(each.code)
            yield each

    found = most_likely_language(windows(), 0.5)
    assert (found.code, found.probability, asked) == ("fr", 0.51, ["de", "fr"])


def test_else_most_windows_do_with_the_surest_of_them():
    windows = [window("de", 0.3), window("fr", 0.5), window("de", 0.4), window("de", 0.2)]
    found = most_likely_language(windows, 0.5)
    assert (found.code, found.probability) == ("de", 0.4)


def test_the_first_language_wins_a_tie():
    assert most_likely_language([window("it", 0.1), window("de", 0.3)], 0.5).code == "it"


@pytest.mark.parametrize(
    ("blocks", "name"), [((32, 4), "turbo"), ((32, 2), "a distil model"), ((24, 2), "a distil model")]
)
def test_models_that_were_not_trained_to_translate(blocks, name):
    dims = replace(DIMS, n_audio_layer=blocks[0], n_text_layer=blocks[1])
    check_translation(dims, "transcribe")
    with pytest.raises(OptionError) as error:
        check_translation(dims, "translate")
    assert str(error.value).startswith(f"task: {name} can't translate, it was trained to transcribe only; use large-v3")


@pytest.mark.parametrize("blocks", [(32, 32), (4, 4), (6, 6), (2, 2)])
def test_models_that_can_translate(blocks):
    check_translation(replace(DIMS, n_audio_layer=blocks[0], n_text_layer=blocks[1]), "translate")


def test_decode_refuses_to_translate():
    mel, options = fake_mel(0)[None, :, :3000], DecodingOptions(task="translate")
    turbo = FakeInference(replace(DIMS, n_audio_layer=32, n_text_layer=4))
    with pytest.raises(OptionError, match="turbo can't translate"):
        decode(turbo, synthetic_vocabulary(), mel, options)
    with pytest.raises(OptionError, match="an English-only model can't translate"):
        decode(FakeInference(ENGLISH_DIMS), synthetic_vocabulary(english=True), mel, options)
