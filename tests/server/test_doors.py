"""Other servers' addresses: what their clients send, and what they get, errors in each one's own shape."""

import io

import numpy as np
import pytest
import soundfile

from tests.support import patient
from tests.support.served import bomb
from whisper_max.output import render


def inference(server, audio, **fields):
    return patient.post(f"{server.url}/inference", data=fields, files={"file": ("a.wav", audio)})


def asr(server, audio, path="asr", **asked):
    """As Bazarr asks: all in the address, the recording in ``audio_file``."""
    return patient.post(f"{server.url}/{path}", params=asked, files={"audio_file": audio})


def samples_of(wav):
    return soundfile.read(io.BytesIO(wav), dtype="int16")[0]


def test_whisper_cpp(server, make_wav, expected):
    audio = make_wav(65, 1)
    wanted = expected(audio, logprob_threshold=-0.1)
    lines = "".join(f"{segment.text}\n" for segment in wanted.segments)
    sent = {"temperature": "0.0", "temperature_inc": "0.2", "logprob_thold": "-0.1", "word_thold": "0.01"}
    answer = inference(server, audio, **sent)
    assert (answer.status_code, answer.json()) == (200, {"text": lines})
    assert "word_thold" in answer.headers["x-whisper-max-warnings"]
    assert inference(server, audio, response_format="text", **sent).text == lines
    assert inference(server, audio, response_format="srt", **sent).text == render(wanted, "srt")
    verbose = inference(server, audio, response_format="verbose_json", **sent).json()
    assert [segment["text"] for segment in verbose["segments"]] == [segment.text for segment in wanted.segments]
    translated = inference(server, audio, translate="true", response_format="verbose_json").json()
    assert translated["task"] == "translate"


def test_other_methods_are_refused_in_each_doors_own_shape(server):
    for path, key in (("inference", "error"), ("asr", "detail"), ("detect-language", "detail")):
        answer = patient.get(f"{server.url}/{path}")
        assert (answer.status_code, answer.json()) == (405, {key: "no such method here"})
    assert patient.get(f"{server.url}/v1/audio/transcriptions").json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_recording_in_another_field_is_told_where_it_belongs(server, size):
    noise = np.random.default_rng(1).bytes(size)
    answer = patient.post(f"{server.url}/asr", files={"file": ("a.wav", noise)})
    wanted = "audio_file: expected the recording here, found a file as 'file'"
    assert (answer.status_code, answer.json()) == (400, {"detail": wanted})
    answer = patient.post(f"{server.url}/inference", files={"audio_file": ("a.wav", noise)})
    assert answer.json() == {"error": "file: expected the recording here, found a file as 'audio_file'"}


def test_errors_name_the_doors_own_field(server):
    assert asr(server, b"").json()["detail"].startswith("audio_file: empty file")
    assert asr(server, b"no audio").json()["detail"].startswith("audio_file: not audio")
    assert inference(server, b"").json()["error"].startswith("file: empty file")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": "warm"}, "temperature: expected a number"),
        ({"max_len": "20"}, "max_len: only 0 can be had"),
        ({"language": "klingon"}, "unknown language"),
        ({"response_format": "lattice"}, "response_format: expected one of"),
    ],
)
def test_whisper_cpps_errors(server, make_wav, fields, words):
    answer = inference(server, make_wav(1), **fields)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert words in answer.json()["error"]
    assert set(inference(server, b"no audio").json()) == {"error"}
    assert "file: missing" in patient.post(f"{server.url}/inference", files={"x": b"1"}).json()["error"]


@pytest.mark.parametrize("output", ["txt", "json", "srt", "vtt", "tsv"])
def test_asr(server, make_wav, expected, output):
    audio = make_wav(40)
    wanted = expected(audio, language="en")
    answer = asr(server, audio, task="transcribe", language="en", output=output, vad_filter="false")
    assert answer.status_code == 200
    assert answer.headers["asr-engine"] == "whisper_max"
    if output == "json":
        assert answer.json() == wanted.to_dict()
    else:
        assert answer.text == (wanted.text.strip() if output == "txt" else render(wanted, output))


def test_asr_of_bare_samples(server, make_wav, expected):
    """Bazarr sends what ffmpeg gives it: ``-f s16le -ac 1 -ar 16000``."""
    audio = make_wav(40)
    asked = {"task": "transcribe", "language": "en", "output": "srt", "encode": "false"}
    answer = asr(server, samples_of(audio).tobytes(), **asked)
    assert (answer.status_code, answer.text) == (200, render(expected(audio, language="en"), "srt"))
    for wrong in (b"", b"abc"):
        refused = asr(server, wrong, **asked)
        assert (refused.status_code, set(refused.json())) == (400, {"detail"})
    server.wait(lambda: server.shared.spool.n_taken == 0)


def test_asr_translates_and_takes_words(server, make_wav, expected):
    audio = make_wav(8)
    assert asr(server, audio, task="translate").text == expected(audio, task="translate").text.strip()
    words = asr(server, audio, output="json", word_timestamps="true").json()
    assert words == expected(audio, word_timestamps=True).to_dict()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"output": "pdf"}, "output: expected one of"),
        ({"encode": "perhaps"}, "encode: expected true or false"),
        ({"task": "sing"}, "task: expected"),
        ({"language": "klingon"}, "unknown language"),
    ],
)
def test_asrs_errors(server, make_wav, asked, words):
    answer = asr(server, make_wav(1), **asked)
    assert (answer.status_code, set(answer.json())) == (400, {"detail"})
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("encode", ["true", "false"])
def test_detect_language(server, make_wav, encode):
    audio = make_wav(45)
    model = server.loader.load("base")
    for offset in (0, 10):
        wanted = model.detect_language(samples_of(audio)[offset * 16000 : (offset + 30) * 16000])
        sent = audio if encode == "true" else samples_of(audio).astype(np.int16).tobytes()
        answer = asr(server, sent, "detect-language", encode=encode, detect_lang_offset=offset)
        assert answer.status_code == 200
        assert answer.json()["language_code"] == wanted.code
        assert answer.json()["confidence"] == pytest.approx(wanted.probability, abs=1e-3)
    assert answer.json()["detected_language"]


def test_the_language_of_hours_takes_their_beginning_only(serving):
    with serving(max_seconds=60) as server:  # a longer one is not transcribed, but its beginning is enough here
        assert asr(server, bomb(7200), "detect-language").status_code == 200


@pytest.mark.parametrize(
    "asked", [{"detect_lang_offset": "x"}, {"detect_lang_length": "31"}, {"detect_lang_offset": "nan"}]
)
def test_what_no_language_is_found_in(server, make_wav, asked):
    answer = asr(server, make_wav(1), "detect-language", **asked)
    assert (answer.status_code, set(answer.json())) == (400, {"detail"})
    assert asr(server, b"no audio", "detect-language").status_code == 400


def test_doors_ask_for_the_key(serving):
    with serving(api_keys=("k",)) as server:
        for path in ("inference", "asr", "detect-language"):
            assert patient.post(f"{server.url}/{path}").status_code == 401
