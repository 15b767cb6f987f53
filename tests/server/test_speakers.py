"""Channels as speakers, asked of the server: every format, streams, limits, and what is refused."""

import io
import json
from base64 import b64encode

import numpy as np
import pytest
import soundfile
from openai.types import audio as types

from tests.support.served import wav
from whisper_max.audio.io import MOST_CHANNELS
from whisper_max.output import render

SEPARATE = {"channels": "separate", "language": "en"}


def data_url(file):
    return f"data:audio/wav;base64,{b64encode(file).decode()}"


def stereo(seconds, n_channels=2, rate=16000):
    rng = np.random.default_rng(5)
    samples = rng.normal(0, 0.1, (round(seconds * rate), n_channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


AUDIO = stereo(35)
KNOWN = {"known_speaker_names[]": "Ann", "known_speaker_references[]": data_url(wav(3))}


def test_every_format_says_who_speaks(server, expected):
    wanted = expected(AUDIO, **SEPARATE)
    for format in ("srt", "vtt", "tsv", "csv", "lrc", "ass"):
        assert server.post(AUDIO, response_format=format, **SEPARATE).text == render(wanted, format)
    assert server.post(AUDIO, response_format="text", **SEPARATE).text == render(wanted, "txt")
    verbose = server.post(AUDIO, response_format="verbose_json", **SEPARATE).json()
    assert [(each.get("speaker"), each["channel"]) for each in verbose["segments"]] == [
        (each.speaker, each.channel) for each in wanted.segments
    ]


def test_words_say_who_speaks(server):
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    words = server.post(AUDIO, **fields, **SEPARATE).json()["words"]
    assert {word["speaker"] for word in words} == {"Speaker 1", "Speaker 2"}


def test_diarized_json_is_as_openai_describes_it(server, expected):
    answer = server.post(AUDIO, response_format="diarized_json", **SEPARATE)
    read = types.TranscriptionDiarized.model_validate_json(answer.text, strict=True)
    wanted = [each for each in expected(AUDIO, **SEPARATE).segments if each.text.strip()]
    assert [(each.speaker, each.start, each.end, each.text) for each in read.segments] == [
        (each.speaker, each.start, each.end, each.text.strip()) for each in wanted
    ]
    assert (read.duration, read.task) == (35.0, "transcribe")


def test_a_stream_of_diarized_json(server):
    lines = server.post(AUDIO, response_format="diarized_json", stream="true", **SEPARATE).text.split("\n\n")
    said = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    segments = [each for each in said if each["type"] == "transcript.text.segment"]
    for each in segments:
        types.TranscriptionTextSegmentEvent.model_validate(each, strict=True)
    whole = server.post(AUDIO, response_format="diarized_json", **SEPARATE).json()
    assert segments == whole["segments"]
    assert said[-1]["type"] == "transcript.text.done"
    assert said[-1]["text"] == whole["text"]


def test_the_same_sound_has_no_speakers_and_says_so(server):
    samples, rate = soundfile.read(io.BytesIO(wav(10)))
    file = io.BytesIO()
    soundfile.write(file, np.stack([samples, samples], axis=1), rate, format="WAV")
    answer = server.post(file.getvalue(), response_format="diarized_json", **SEPARATE).json()
    assert {each["speaker"] for each in answer["segments"]} <= {"unknown"}
    assert [each["kind"] for each in answer["warnings"]] == ["same sound"]


@pytest.mark.parametrize(
    ("audio", "fields", "words"),
    [
        (wav(2), SEPARATE, "the recording has one channel"),
        (stereo(1, MOST_CHANNELS + 1), SEPARATE, "too many channels"),
        (AUDIO, {"channels": "left"}, "expected one of mixed, separate"),
        (AUDIO, {**SEPARATE, **KNOWN}, "can't be given together with separate channels"),
    ],
)
def test_what_is_refused(server, audio, fields, words):
    answer = server.post(audio, **fields)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_all_channels_together_have_the_seconds_that_a_recording_may_have(serving):
    with serving(max_seconds=50) as server:
        assert server.post(stereo(20), **SEPARATE).status_code == 200
        assert server.post(stereo(30), language="en").status_code == 200
        assert server.post(stereo(30), **SEPARATE).status_code in (400, 413)


def test_other_servers_doors(server, expected):
    client = server.http()
    lines = client.post("/inference", data={**SEPARATE, "response_format": "text"}, files={"file": AUDIO})
    assert "\n(Speaker 1) " in lines.text
    asked = {"output": "txt", **SEPARATE}
    answer = client.post("/asr", params=asked, files={"audio_file": AUDIO})
    assert answer.text == render(expected(AUDIO, **SEPARATE), "txt").removesuffix("\n")
