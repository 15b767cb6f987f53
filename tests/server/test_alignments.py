"""Times for a text that is known, asked of the server: as the library has them, in streams too, and what is refused."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.served import wav
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max import api
from whisper_max.output import render

AUDIO = wav(20, 2)
PLAIN = {"language": "en"}
FIELDS = {"model": "whisper-1", "language": "en"}


def model():
    return api.Model(FakeInference(DIMS), synthetic_vocabulary())


@pytest.fixture(scope="module")
def text():
    """What the recording says, each segment a line, but for a word."""
    said = model().transcribe(io.BytesIO(AUDIO), word_timestamps=True, **PLAIN).segments
    first, *others = [segment.text.strip() for segment in said if segment.text.strip()]
    return "\n".join([f"Indeed {first}", *others])


def test_times_are_those_of_the_library(server, text):
    wanted = model().align(io.BytesIO(AUDIO), text, **PLAIN)
    fields = {"endpoint": "alignments", "text": text, **FIELDS}
    assert server.post(AUDIO, response_format="srt", **fields).text == render(wanted, "srt")
    granularities = {"timestamp_granularities[]": ["segment", "word"]}
    answer = server.post(AUDIO, response_format="verbose_json", **granularities, **fields).json()
    assert [(each["start"], each["end"], each["text"]) for each in answer["segments"]] == [
        (each.start, each.end, each.text) for each in wanted.segments
    ]
    assert answer["segments"][0]["no_speech_prob"] is None  # it was not looked at
    words = api.words_of(wanted.segments)
    assert [(word["start"], word["end"]) for word in answer["words"]] == [(word.start, word.end) for word in words]


def test_diarized_json_has_the_voices_of_the_text(server, text):
    first, *others = text.split("\n")
    cue = "00:00.000 --> 00:01.000\n"
    vtt = f"WEBVTT\n\n{cue}<v Ann>{first}\n\n{cue}{' '.join(others)}\n"
    answer = server.post(AUDIO, endpoint="alignments", text=vtt, response_format="diarized_json", **FIELDS)
    assert answer.status_code == 200
    assert [each["speaker"] for each in answer.json()["segments"]] == ["Ann", "unknown"]
    answer = server.post(AUDIO, endpoint="alignments", text=text, speakers="auto", **FIELDS)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "speakers")


def test_a_stream_tells_how_far_it_is_and_then_the_segments_of_the_text(server, text):
    wanted = model().align(io.BytesIO(AUDIO), text, **PLAIN)
    fields = {"response_format": "verbose_json", "stream": "true", "progress": "true", **FIELDS}
    lines = server.post(AUDIO, endpoint="alignments", text=text, **fields).text.split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    segments = [event["text"] for event in events if event["type"] == "transcript.text.segment"]
    assert segments == [segment.text for segment in wanted.segments]
    assert not any("NaN" in line for line in lines)
    done = [event["seconds_done"] for event in events if event["type"] == "transcript.progress"]
    assert done == sorted(done)
    assert done[0] < 20
    assert done[-1] == 20


def test_each_of_many_at_a_time_is_what_it_is_alone(serving, text):
    with serving() as server, server.http() as client:

        def ask(kind):
            form = {**FIELDS, **({"text": text} if kind == "alignments" else {})}
            return client.post(f"/v1/audio/{kind}", data=form, files={"file": AUDIO}).json()

        kinds = ["alignments", "transcriptions"]
        alone = [ask(kind) for kind in kinds]
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(ask, kinds * 3)) == alone * 3
        server.wait(lambda: server.shared.spool.n_taken == 0)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "missing_field", "text: missing"),
        ({"text": ["a", "b"]}, "duplicate_field", "text: sent more than once"),
        ({"text": " \n—"}, "invalid_option", "there is no word in it"),
        ({"text": "words of somebody else, and more of them"}, "text_not_said", "the recording does not say it"),
        ({"text": "a", "channels": "separate"}, "invalid_option", "channels"),
        ({"text": "a", "speakers": "2"}, "invalid_option", "speakers"),
        ({"text": "a", "task": "translate"}, "invalid_option", "task"),
        ({"text": "a", "beam_size": "999"}, "invalid_value", "beam_size"),
    ],
)
def test_what_is_refused(server, fields, code, message):
    answer = server.post(AUDIO, endpoint="alignments", **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert message in answer.json()["error"]["message"]
