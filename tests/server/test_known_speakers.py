"""People who are known by short recordings that are sent with a request, told apart by networks that hear pitches."""

import io
import json
from base64 import b64encode

import pytest
import soundfile
from openai.types import audio as types

from tests.support.tones import Ears, tones
from whisper_max.server import references
from whisper_max.speakers import diarize

NAMES, RECORDINGS = "known_speaker_names[]", "known_speaker_references[]"


@pytest.fixture(autouse=True)
def ears(monkeypatch):
    for module in (references, diarize):
        monkeypatch.setattr(module, "load_networks", Ears)


def file_of(*turns, format="WAV"):
    waveform, file = tones(*turns), io.BytesIO()
    soundfile.write(file, waveform.read(0, waveform.n_samples), 16000, format=format)
    return file.getvalue()


def data_url(content, kind="audio/wav"):
    return f"data:{kind};base64,{b64encode(content).decode()}"


ANN, BOB = data_url(file_of((0, 3))), data_url(file_of((None, 1), (1, 9), format="FLAC"), "audio/flac")
AUDIO = file_of(*[(who, 8) for who in (1, 2, 0) * 6])


def test_openais_client_has_the_names(server):
    answer = server.openai().audio.transcriptions.create(
        model="whisper-1",
        file=("a.wav", AUDIO),
        response_format="diarized_json",
        known_speaker_names=["Ann", "Bob"],
        known_speaker_references=[ANN, BOB],
    )
    assert isinstance(answer, types.TranscriptionDiarized)
    plain = server.post(AUDIO, response_format="diarized_json", speakers="auto").json()["segments"]
    names = {"Speaker 1": "Bob", "Speaker 2": "Speaker 1", "Speaker 3": "Ann"}
    assert [each.speaker for each in answer.segments] == [names[each["speaker"]] for each in plain]
    assert {each.speaker for each in answer.segments} == set(names.values())


def test_openais_call_for_speakers_needs_no_field_of_ours(server):
    answer = server.openai().audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("a.wav", AUDIO),
        response_format="diarized_json",
    )
    assert isinstance(answer, types.TranscriptionDiarized)
    ours = server.post(AUDIO, response_format="diarized_json", speakers="auto").json()["segments"]
    assert [each.speaker for each in answer.segments] == [each["speaker"] for each in ours]
    assert len({each.speaker for each in answer.segments}) == 3


def test_names_are_in_streams_and_in_other_formats(server):
    known = {NAMES: ["Ann", "Bob"], RECORDINGS: [ANN, BOB]}
    assert "<v Bob>" in server.post(AUDIO, response_format="vtt", **known).text
    said = server.post(AUDIO, response_format="diarized_json", stream="true", **known).text
    events = [json.loads(line.removeprefix("data: ")) for line in said.split("\n\n") if line]
    speakers = {each["speaker"] for each in events if each["type"] == "transcript.text.segment"}
    assert speakers == {"Bob", "Speaker 1", "Ann"}


def test_a_number_of_speakers_is_kept(server):
    known = {NAMES: "Ann", RECORDINGS: ANN, "speakers": "1", "response_format": "diarized_json"}
    assert len({each["speaker"] for each in server.post(AUDIO, **known).json()["segments"]}) == 1


@pytest.mark.parametrize(
    ("names", "recordings", "param", "words"),
    [
        (["Ann"], [], RECORDINGS, "expected one for each of known_speaker_names, 1, found 0"),
        ([], [ANN], RECORDINGS, "expected one for each of known_speaker_names, 0, found 1"),
        (["a", "b", "c", "d", "e"], [ANN] * 5, NAMES, "expected at most 4, found 5"),
        (["Ann", "Ann"], [ANN, BOB], NAMES, "expected different names"),
        ([" Ann"], [ANN], NAMES, "expected different names of one line"),
        (["A\nnn"], [ANN], NAMES, "expected different names of one line"),
        (["A" * 65], [ANN], NAMES, "at most 64 characters"),
        (["Ann"], ["https://example.org/ann.wav"], RECORDINGS, "the recording of 'Ann': expected data:audio"),
        (["Ann"], ["data:audio/wav,abc"], RECORDINGS, "the recording of 'Ann': expected data:audio"),
        (["Ann"], ["data:audio/wav;base64,a!b="], RECORDINGS, "the recording of 'Ann': expected data:audio"),
        (["Ann"], ["data:audio/wav;base64,"], RECORDINGS, "the recording of 'Ann': "),
        (["Ann"], [data_url(b"no audio" * 100)], RECORDINGS, "the recording of 'Ann': "),
        (["Ann"], [data_url(file_of((0, 1.5)))], RECORDINGS, "expected 2 to 10 s, found 1.5 s"),
        (["Ann"], [data_url(file_of((0, 30)))], RECORDINGS, "expected 2 to 10 s, found"),
        (["Ann", "Bob"], [ANN, data_url(file_of((None, 4)))], RECORDINGS, "'Bob': nobody is heard in it"),
    ],
)
def test_what_is_refused(server, names, recordings, param, words):
    answer = server.post(AUDIO, **{NAMES: names, RECORDINGS: recordings})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param.removesuffix("[]"))


def test_recordings_of_voices_have_their_own_room_in_a_form(server):
    long = data_url(file_of((0, 10), format="WAV") + bytes(1 << 20))
    assert len(long) > 1 << 20
    assert server.post(AUDIO, **{NAMES: ["Ann"], RECORDINGS: [long]}).status_code == 200
    answer = server.post(AUDIO, **{NAMES: ["Ann"], RECORDINGS: ["data:" + "A" * (11 << 20)]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "known_speaker_references")
    assert server.post(AUDIO, prompt="A" * (1 << 20)).status_code == 413
