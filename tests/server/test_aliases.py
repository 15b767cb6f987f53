"""Other names of models: OpenAI's, hubs' and one's own."""

import pytest

from whisper_max.checkpoint.copies import published_name
from whisper_max.errors import OptionError
from whisper_max.server.aliases import Names
from whisper_max.server.settings import Settings


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("base", "base"),
        ("openai/whisper-base", "base"),
        ("OpenAI/Whisper-Base", "base"),
        ("Systran/faster-whisper-base.en", "base.en"),
        ("guillaumekln/faster-whisper-large-v2", "large-v2"),
        ("openai/whisper-large", "large-v1"),
        ("whisper-large-v3", "large-v3"),
        ("large", "large-v3"),
        ("turbo", "large-v3-turbo"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "large-v3-turbo"),
        ("distil-whisper/distil-large-v3", "distil-large-v3"),
        ("Systran/faster-distil-whisper-large-v3", "distil-large-v3"),
        ("ggml-tiny.en.bin", "tiny.en"),
        ("someone/whisper-base", None),
        ("whisper-huge", None),
        ("whisper-1", None),
        ("", None),
        ("/", None),
    ],
)
def test_names_of_published_models(name, wanted):
    assert published_name(name) == wanted


def test_names_find_models():
    sources = {"base": "base", "mine": "/models/mine", "en": "tiny.en", "twice": "openai/whisper-base"}
    names = Names(sources, {"stt": "mine"})
    assert names.ids == ("base", "mine", "en")
    for name, id in (
        *(("twice", "base"), ("Systran/faster-whisper-base", "base"), ("openai/whisper-tiny.en", "en")),
        *(("stt", "mine"), ("whisper-1", "base"), ("gpt-4o-transcribe", "base"), ("gpt-transcribe", "base")),
        *(("gpt-4o-mini-transcribe-2025-12-15", "base"), ("gpt-4o-transcribe-diarize", "base")),
    ):
        assert names.find(name) == id
    for name in ("small", "gpt-4o", "gpt-4o-diarize", "whisper-2", "", "/models/mine"):
        assert names.find(name) is None


def test_a_model_of_that_name_is_meant_before_any_alias():
    assert Names({"base": "base", "whisper-1": "/models/own"}, {}).find("whisper-1") == "whisper-1"


def test_one_copy_for_all_names(serving):
    with serving(models=("openai/whisper-base", "tiny"), alias=("stt=tiny",)) as server:
        client = server.openai()
        for name in ("base", "openai/whisper-base", "Systran/faster-whisper-base", "gpt-4o-transcribe", "stt", "tiny"):
            assert server.post(model=name).status_code == 200
        assert server.loader.loaded == ["base", "tiny"]
        assert [model.id for model in client.models.list()] == ["base", "tiny"]
        assert client.models.retrieve("Systran/faster-whisper-tiny").id == "tiny"
        refused = server.post(model="large-v3")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("alias", ["stt", "=base", "stt=", "stt=large", "base=base"])
def test_impossible_aliases(alias):
    with pytest.raises(OptionError, match="alias: no alias"):
        Settings(alias=(alias,))
    with pytest.raises(OptionError, match="alias: no alias"):
        Settings(alias=("x=base", "x=base"))
