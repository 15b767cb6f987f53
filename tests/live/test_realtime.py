"""``/v1/realtime`` on a server that runs, with a fake model and a fake ear."""

import base64
import io
import json
from contextlib import contextmanager
from itertools import groupby, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="the extra server is not installed")
websockets_client = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from tests.support import patient, served  # noqa: E402
from tests.support.fake_inference import FakeInference  # noqa: E402
from whisper_max.errors import ArtifactError  # noqa: E402
from whisper_max.server import engine_thread  # noqa: E402
from whisper_max.server.realtime import socket as realtime  # noqa: E402
from whisper_max.server.realtime.g711 import decode_g711  # noqa: E402
from whisper_max.transcribe.speakers import SpeakerCount  # noqa: E402
from whisper_max.transcribe.turns import Turn  # noqa: E402

RATE = 24000
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def ear():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(realtime, "new_detector", lambda: lambda chunk: float(np.abs(chunk).max() > 0.1))
        yield


@pytest.fixture(scope="module")
def server(ear):
    with served.running() as it:
        yield it


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.seen = []
        self.lags = []

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def receive(self):
        """The next message but those that tell of a busy machine, which may come at any time."""
        message = json.loads(self.socket.recv(timeout=60))
        if message["type"] == "whisper_max.lag":
            self.lags.append(message["seconds"])
            return self.receive()
        self.seen.append(message)
        return message

    def until(self, kind):
        """The next message of this type; all before it are seen."""
        while self.receive()["type"] != kind:
            assert self.seen[-1]["type"] != "error", self.seen[-1]
        return self.seen[-1]

    def append(self, samples):
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def update(self, **heard):
        session = {"type": "transcription", "audio": {"input": heard}}
        self.send("session.update", session=session)
        return self.receive()


@contextmanager
def connected(server, **options):
    address = f"ws://127.0.0.1:{server.port}/v1/realtime?intent=transcription"
    with websockets_client.connect(address, **{**patient.SOCKET, **options}) as socket:
        client = Client(socket)
        yield client


@pytest.fixture
def client(server):
    with connected(server) as it:
        assert it.receive()["type"] == "session.created"
        yield it


def talk(seconds, quiet=0.0):
    rng = np.random.default_rng(11)
    return np.concatenate([rng.uniform(-0.5, 0.5, round(seconds * RATE)), np.zeros(round(quiet * RATE))])


def append_in_pieces(client, samples, size=2400):
    for start in range(0, len(samples), size):
        client.append(samples[start : start + size])


def test_a_turn_that_the_server_ends(client):
    settings = client.update(transcription={"model": "whisper-1", "language": "en"})
    assert settings["type"] == "session.updated"
    assert settings["session"]["audio"]["input"]["transcription"]["language"] == "en"
    append_in_pieces(client, np.concatenate([np.zeros(RATE), talk(4, 1.5)]))
    completed = client.until(f"{TRANSCRIPTION}.completed")
    kinds = [message["type"] for message in client.seen[2:]]
    expected = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        f"{TRANSCRIPTION}.completed",
    ]
    assert [kind for kind in kinds if kind in expected] == expected
    by_kind = {message["type"]: message for message in client.seen}
    item = completed["item_id"]
    assert {message["item_id"] for message in client.seen[2:]} == {item}
    assert by_kind["input_audio_buffer.speech_started"]["audio_start_ms"] == pytest.approx(700, abs=40)
    assert by_kind["input_audio_buffer.speech_stopped"]["audio_end_ms"] == pytest.approx(5000, abs=40)
    assert by_kind["input_audio_buffer.committed"]["previous_item_id"] is None
    deltas = "".join(message["delta"] for message in client.seen if message["type"] == f"{TRANSCRIPTION}.delta")
    assert completed["transcript"] == deltas
    assert completed["transcript"] == "".join(word["word"] for word in completed["words"]).strip()
    assert completed["language"] == "en"
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(4.6, abs=0.1)}
    append_in_pieces(client, talk(2, 1.5))
    assert client.until("input_audio_buffer.committed")["previous_item_id"] == item


class SecondSpeaker:
    """Hears another speaker from so many seconds of the stream on."""

    def __init__(self, count, position):
        assert (count, position) == (SpeakerCount(1, 4), 0)
        self.n_samples = 0

    def push(self, samples):
        self.n_samples += len(samples)

    def turns(self, *, final=False):
        return [Turn(0.0, 3.0, 5), Turn(3.0, self.n_samples / 16_000, 2)]


def test_who_speaks(client, monkeypatch):
    monkeypatch.setattr(realtime, "online_speakers", SecondSpeaker)
    settings = client.update(transcription={"model": "whisper-1", "language": "en", "speakers": "1-4"})
    assert settings["session"]["audio"]["input"]["transcription"]["speakers"] == "1-4"
    assert client.update(turn_detection={"type": "server_vad"})["type"] == "session.updated"  # the speakers stay
    heard = set()
    for seconds in (2, 3, 4, 5, 3.3, 4.4):  # the fake model has nothing to say of some of them
        first = len(client.seen)
        append_in_pieces(client, talk(seconds, 1.5))
        completed = client.until(f"{TRANSCRIPTION}.completed")
        segments = [each for each in client.seen[first:] if each["type"] == f"{TRANSCRIPTION}.segment"]
        assert all(each["item_id"] == completed["item_id"] for each in segments)
        assert "".join(each["text"] for each in segments).replace(" ", "") == completed["transcript"].replace(" ", "")
        speakers = [each["speaker"] for each in segments]
        assert all(before != after for before, after in pairwise(speakers))
        assert speakers == [name for name, _ in groupby(word["speaker"] for word in completed["words"])]
        assert all(word["speaker"] == "Speaker 2" for word in completed["words"] if word["start"] >= 3)
        heard |= set(speakers)
    assert "Speaker 2" in heard
    client.update(transcription={"speakers": None})
    for seconds in (2, 3, 4, 5):
        append_in_pieces(client, talk(seconds, 1.5))
        assert all("speaker" not in word for word in client.until(f"{TRANSCRIPTION}.completed")["words"])


@pytest.mark.parametrize("speakers", [0, "some", "5-2", 101, "9" * 31])
def test_an_impossible_number_of_speakers_is_an_error(client, speakers):
    refused = client.update(transcription={"speakers": speakers})
    assert refused["type"] == "error"
    assert "speakers" in refused["error"]["message"]
    append_in_pieces(client, talk(2, 1.5))
    assert all("speaker" not in word for word in client.until(f"{TRANSCRIPTION}.completed")["words"])


def test_deltas_are_the_transcript(client):
    client.update(transcription={"language": "en"})
    said = []
    for seconds in (1.3, 2, 3, 4, 5):  # the fake model has nothing to say of some of them
        first = len(client.seen)
        append_in_pieces(client, talk(seconds, 1.5))
        said.append(client.until(f"{TRANSCRIPTION}.completed")["transcript"])
        messages = client.seen[first:]
        assert "".join(each["delta"] for each in messages if each["type"] == f"{TRANSCRIPTION}.delta") == said[-1]
    assert len("".join(said)) > 20


def test_a_turn_that_the_client_ends(server, client):
    client.update(transcription={"language": "en"}, turn_detection=None)
    said = tentative = ""
    for seconds in (1.3, 2, 3, 4, 5):  # the fake model has nothing to say of some of them
        first, encoded = len(client.seen), server.loader.inference.encoded
        client.append(talk(seconds))
        server.wait(lambda encoded=encoded: server.loader.inference.encoded > encoded)  # it guesses before the end
        client.send("input_audio_buffer.commit")
        completed = client.until(f"{TRANSCRIPTION}.completed")
        messages = client.seen[first:]
        kinds = [message["type"] for message in messages]
        assert f"{TRANSCRIPTION}.delta" not in kinds[: kinds.index("input_audio_buffer.committed")]
        assert "input_audio_buffer.speech_started" not in kinds
        deltas = [message["delta"] for message in messages if message["type"] == f"{TRANSCRIPTION}.delta"]
        assert "".join(deltas) == completed["transcript"]
        said += completed["transcript"]
        tentative += "".join(each["text"] for each in messages if each["type"] == "whisper_max.tentative")
    assert len(said) > 20
    assert len(tentative) > 5


def test_nothing_to_commit(client):
    client.append(np.zeros(RATE))
    client.send("input_audio_buffer.commit")
    assert client.receive()["error"]["code"] == "input_audio_buffer_commit_empty"


def test_clearing(client):
    client.update(transcription={"language": "en"}, turn_detection=None)
    client.append(talk(3))
    client.send("input_audio_buffer.clear")
    client.until("input_audio_buffer.cleared")
    client.send("input_audio_buffer.commit")
    assert client.receive()["error"]["code"] == "input_audio_buffer_commit_empty"


def test_clearing_while_somebody_speaks_fails_the_item(client):
    client.append(talk(0.5))
    item = client.until("input_audio_buffer.speech_started")["item_id"]
    client.send("input_audio_buffer.clear")
    failed = client.until(f"{TRANSCRIPTION}.failed")
    assert (failed["item_id"], failed["error"]["code"]) == (item, "input_audio_buffer_cleared")
    client.until("input_audio_buffer.cleared")


def test_the_older_shape_of_settings(client):
    session = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "base", "language": "de"}}
    client.send("transcription_session.update", session=session)
    updated = client.receive()
    assert updated["type"] == "transcription_session.updated"
    assert updated["session"]["input_audio_transcription"]["language"] == "de"
    client.send("transcription_session.update", session={"turn_detection": None})
    assert client.receive()["session"]["input_audio_transcription"]["language"] == "de"
    client.send("transcription_session.update", session={"modalities": ["text"]})
    assert client.receive()["type"] == "transcription_session.updated"
    assert client.receive()["warnings"] == [{"param": "session.modalities", "message": "no such setting here"}]
    client.send(
        "session.update", session={"input_audio_format": "pcm16", "input_audio_transcription": {"language": "fr"}}
    )
    assert client.receive()["session"]["audio"]["input"]["transcription"]["language"] == "fr"
    client.send("transcription_session.update", input_audio_format="mp3")
    assert client.receive()["error"]["param"] == "session.audio.input.format.type"


def test_settings_in_the_middle_end_the_utterance(client):
    client.append(talk(2))
    client.until("input_audio_buffer.speech_started")
    client.send("session.update", session={"audio": {"input": {"format": {"type": "audio/pcm", "rate": 16000}}}})
    client.until(f"{TRANSCRIPTION}.completed")
    assert client.until("session.updated")["session"]["audio"]["input"]["format"]["rate"] == 16000
    client.append(talk(2)[:16000])
    assert client.until("input_audio_buffer.speech_started")["audio_start_ms"] >= 1950


@pytest.mark.parametrize(
    ("heard", "param"),
    [
        ({"format": {"type": "audio/mp3"}}, "session.audio.input.format.type"),
        ({"format": {"type": "audio/pcm", "rate": 1}}, "session.audio.input.format.rate"),
        ({"turn_detection": {"type": "manual"}}, "session.audio.input.turn_detection.type"),
        ({"turn_detection": {"type": "server_vad", "threshold": 2}}, "session.audio.input.turn_detection.threshold"),
        ({"transcription": {"language": "klingon"}}, "language"),
        ({"transcription": {"model": "large-v9"}}, "model"),
        ({"transcription": {"prompt": "\ud800"}}, "session.audio.input.transcription.prompt"),
    ],
)
def test_settings_that_can_not_be_are_refused(client, heard, param):
    message = client.update(**heard)
    assert (message["type"], message["error"]["param"]) == ("error", param)
    client.append(talk(0.5, 1.0))
    client.until(f"{TRANSCRIPTION}.completed")


@pytest.mark.parametrize(
    ("query", "code"), [("model=large-v9", "model_not_found"), ("intent=conversation", "invalid_value")]
)
def test_an_address_that_asks_for_what_is_not_here_is_refused(server, query, code):
    address = f"ws://127.0.0.1:{server.port}/v1/realtime?{query}"
    with websockets_client.connect(address, **patient.SOCKET) as socket:
        assert json.loads(socket.recv(timeout=60))["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
        assert closed.value.rcvd.code == 1008


def test_the_address_may_name_the_model(server):
    address = f"ws://127.0.0.1:{server.port}/v1/realtime?model=whisper-1"
    with websockets_client.connect(address, **patient.SOCKET) as socket:
        created = json.loads(socket.recv(timeout=60))
        assert created["session"]["audio"]["input"]["transcription"]["model"] == "base"


def test_other_sessions_are_refused(client):
    client.send("session.update", session={"type": "realtime"}, event_id="mine")
    error = client.receive()["error"]
    assert (error["code"], error["event_id"]) == ("invalid_value", "mine")


INPUT = "session.audio.input"
HEARD = {"transcription": {"model": "base", "language": "en"}}
TURNS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
LOGPROBS = ["item.input_audio_transcription.logprobs"]


@pytest.mark.parametrize(
    ("session", "params"),
    [
        ({"audio": {"input": {**HEARD, "noise_reduction": {"type": "near_field"}}}}, [f"{INPUT}.noise_reduction"]),
        (
            {"audio": {"input": {**HEARD, "turn_detection": {"type": "semantic_vad", "eagerness": "auto"}}}},
            [f"{INPUT}.turn_detection.type"],
        ),
        ({"audio": {"input": HEARD}, "include": LOGPROBS}, ["session.include"]),
        ({"audio": {"input": HEARD}, "include": []}, []),
        (
            {
                "audio": {
                    "input": {**HEARD, "turn_detection": {**TURNS, "create_response": False, "idle_timeout_ms": None}}
                }
            },
            [],
        ),
        (
            {"audio": {"input": {**HEARD, "turn_detection": {**TURNS, "silence_duration_ms": 50}}}},
            [f"{INPUT}.turn_detection.silence_duration_ms"],
        ),
        (
            {"audio": {"input": {"transcription": {**HEARD["transcription"], "delay": "low"}}}},
            [f"{INPUT}.transcription.delay"],
        ),
        (
            {"audio": {"input": HEARD, "output": {"voice": "alloy"}}, "voice": "alloy"},
            ["session.audio.output", "session.voice"],
        ),
        (
            {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": "en-US"}}}},
            [],
        ),
        ({"audio": {"input": {"transcription": {"prompt": "word " * 1000, "language": "en"}}}}, []),
    ],
)
def test_what_can_not_be_had_is_told_and_the_rest_holds(client, session, params):
    client.send("session.update", session={"type": "transcription", **session})
    updated = client.receive()
    assert updated["type"] == "session.updated"
    heard = updated["session"]["audio"]["input"]
    assert heard["transcription"]["language"] in ("en", "en-US")
    assert (heard["noise_reduction"], heard["turn_detection"]["type"]) == (None, "server_vad")
    if params:
        warning = client.receive()
        assert warning["type"] == "whisper_max.warning"
        assert [each["param"] for each in warning["warnings"]] == params
    client.append(talk(0.5, 1.5))
    client.until(f"{TRANSCRIPTION}.completed")


def test_a_graph_that_can_not_be_had_leaves_whole_windows_and_is_told_once(ear, monkeypatch, caplog):
    asked = []

    def fail(inference, report):
        asked.append(inference)
        raise ArtifactError("there is no compiler", where="renewal")

    monkeypatch.setattr(engine_thread, "renewal_of", fail)
    with served.running() as without, caplog.at_level("WARNING", logger=engine_thread.__name__):
        for _ in range(2):
            with connected(without) as client:
                assert client.receive()["session"]["whole_windows"] is None  # no model is chosen
                assert client.update(**HEARD)["session"]["whole_windows"] is True
                client.append(talk(2, 1.5))
                assert client.until(f"{TRANSCRIPTION}.completed")["transcript"]
    assert len(asked) == 1
    (told,) = (record.getMessage() for record in caplog.records if record.name == engine_thread.__name__)
    assert "live sessions encode whole windows" in told
    assert "renewal: there is no compiler" in told


def test_a_graph_that_is_there_renews_windows(ear, monkeypatch):
    class Whole:
        def encode(self, mel, start, *, brief):
            started.append((start, brief))
            return FakeInference().encode(mel[None])

    started = []
    monkeypatch.setattr(engine_thread, "renewal_of", lambda *_: SimpleNamespace(new_window=Whole))
    with served.running() as renewing, connected(renewing) as client:
        client.receive()
        assert client.update(**HEARD)["session"]["whole_windows"] is False
        append_in_pieces(client, talk(4, 1.5))
        client.until(f"{TRANSCRIPTION}.completed")
    assert started


def test_strict_settings(ear):
    with served.running(strict_fields=True) as strict, connected(strict) as client:
        client.receive()
        message = client.update(**HEARD, noise_reduction={"type": "near_field"})
        assert (message["type"], message["error"]["param"]) == ("error", f"{INPUT}.noise_reduction")
        assert client.update(**HEARD)["type"] == "session.updated"


@pytest.mark.parametrize(("law", "name", "codec"), [("pcmu", "g711_ulaw", "ULAW"), ("pcma", "g711_alaw", "ALAW")])
def test_telephones(client, law, name, codec):
    """Both laws, in both shapes of settings: what libsndfile reads of the same bytes."""
    codes = bytes(range(256))
    file = io.BytesIO(codes)
    samples, _ = soundfile.read(file, format="RAW", subtype=codec, samplerate=8000, channels=1, dtype="int16")
    np.testing.assert_array_equal(decode_g711(codes, f"audio/{law}"), samples)
    client.send(
        "transcription_session.update", input_audio_format=name, input_audio_transcription=HEARD["transcription"]
    )
    assert client.receive()["session"]["input_audio_format"] == name
    session = {"audio": {"input": {"format": {"type": f"audio/{law}"}}}}
    client.send("session.update", session=session)
    assert client.receive()["session"]["audio"]["input"]["format"] == {"type": f"audio/{law}", "rate": 8000}
    encoded = io.BytesIO()
    soundfile.write(encoded, np.tile(talk(2, 1.5), 1)[::3] * 0.9, 8000, format="RAW", subtype=codec)
    client.send("input_audio_buffer.append", audio=base64.b64encode(encoded.getvalue()).decode())
    completed = client.until(f"{TRANSCRIPTION}.completed")
    assert completed["end"] - completed["start"] == pytest.approx(2.3, abs=0.2)
    assert client.update(format={"type": "audio/pcm"})["session"]["audio"]["input"]["format"]["rate"] == 24000


def test_the_first_clear_is_answered(client):
    client.send("input_audio_buffer.clear")
    assert client.receive()["type"] == "input_audio_buffer.cleared"
    append_in_pieces(client, talk(2, 1.5))
    client.until(f"{TRANSCRIPTION}.completed")
    client.send("input_audio_buffer.clear")
    client.until("input_audio_buffer.cleared")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "nothing", "event_id": "\ud800"},
        {"type": "\udfff"},
        {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 10**400}}}}},
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "\ud800"}}}}},
        {"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "\ud800"}}}}},
        {"type": "input_audio_buffer.append", "audio": "\ud800"},
        *(
            {
                "type": "session.update",
                "session": {"audio": {"input": {"turn_detection": {"type": "server_vad", **turn}}}},
            }
            for turn in (
                {"threshold": 10**400},
                {"threshold": float("inf")},
                {"threshold": float("nan")},
                {"silence_duration_ms": 10**400},
                {"silence_duration_ms": -(10**400)},
                {"prefix_padding_ms": 1e308},
            )
        ),
    ],
)
def test_half_characters_and_numbers_without_end_are_answered(client, event):
    client.send(**{"kind": event["type"], **{name: value for name, value in event.items() if name != "type"}})
    message = client.receive()
    assert (message["type"], message["error"]["type"]) in (
        ("error", "invalid_request_error"),
        ("error", "not_found_error"),
    )
    assert message["error"]["event_id"] == event.get("event_id")
    assert client.update(transcription={"language": "en"})["type"] == "session.updated"


@pytest.mark.parametrize("kind", ["session", "transcription_session"])
def test_names_in_half_characters_are_told_as_they_are(client, kind):
    client.send(f"{kind}.update", session={"\ud800": 1, "audio": {"input": {"\udc00": {}}}})
    assert client.receive()["type"] == f"{kind}.updated"
    assert [each["param"] for each in client.receive()["warnings"]] == ["session.\ud800", "session.audio.input.\udc00"]


GARBAGE = [
    ("{", "invalid_json"),
    ("[]", "invalid_json"),
    ("[" * 20000, "invalid_json"),
    ('{"type": %s}' % ("9" * 5000), "invalid_json"),
    (b"\x00\x01", "invalid_json"),
    ("{}", "unknown_event"),
    ('{"type": ["x"]}', "unknown_event"),
    ('{"type": "response.create"}', "unknown_event"),
    ('{"type": "session.update"}', "invalid_value"),
    ('{"type": "session.update", "session": {"audio": 1}}', "invalid_value"),
    ('{"type": "input_audio_buffer.append"}', "invalid_audio"),
    ('{"type": "input_audio_buffer.append", "audio": "%%%"}', "invalid_audio"),
    ('{"type": "input_audio_buffer.append", "audio": "\\u00e9"}', "invalid_audio"),
    ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "invalid_audio"),
]


@pytest.mark.parametrize(("garbage", "code"), GARBAGE)
def test_garbage_is_answered_and_the_session_goes_on(client, garbage, code):
    client.socket.send(garbage)
    message = client.receive()
    assert (message["type"], message["error"]["code"]) == ("error", code)
    assert "Traceback" not in json.dumps(message)
    assert client.update(transcription={"language": "en"})["type"] == "session.updated"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["type", "audio", "input", "format", "transcription", "turn_detection", "language", "model"])
settings_like = st.recursive(json_values, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(settings_like)
def test_any_settings_are_answered(client, session):
    client.send("session.update", session=session)
    message = client.receive()
    while message["type"] == "whisper_max.warning":  # of the settings before
        message = client.receive()
    if message["type"] == "error":
        assert message["error"]["type"] in ("invalid_request_error", "not_found_error")
    else:
        assert message["type"] == "session.updated"


@pytest.fixture
def limited(ear, monkeypatch):
    def make(**limits):
        monkeypatch.setattr(realtime, "LIMITS", realtime.Limits(**limits))

    return make


def test_too_many_sessions(server, limited, client):
    limited(sessions=1)
    with connected(server) as other:
        assert other.receive()["error"]["code"] == "too_many_sessions"
        with pytest.raises(ConnectionClosed) as closed:
            other.receive()
        assert closed.value.rcvd.code == 1013


@pytest.mark.parametrize(
    ("limits", "code"), [({"idle_seconds": 0.2}, "idle_timeout"), ({"seconds": 0.2}, "session_expired")]
)
def test_a_session_that_says_nothing_or_lasts_too_long(server, limited, limits, code):
    limited(**limits)
    with connected(server) as client:
        client.receive()
        assert client.receive()["error"]["code"] == code
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_too_much_garbage(server, limited):
    limited(errors=3)
    with connected(server) as client:
        client.receive()
        for _ in range(3):
            client.socket.send("?")
        codes = [client.receive()["error"]["code"] for _ in range(4)]
        assert codes == ["invalid_json"] * 3 + ["too_many_errors"]


def test_other_sites_and_wrong_keys_are_refused(server, ear):
    with pytest.raises(InvalidStatus), connected(server, origin="https://evil.example"):
        pass
    with served.running(api_keys=("secret",)) as guarded:
        with pytest.raises(InvalidStatus), connected(guarded):
            pass
        protocols = ["realtime", "openai-insecure-api-key.secret"]
        with connected(guarded, subprotocols=protocols) as client:
            assert client.socket.subprotocol == "realtime"
            assert client.receive()["type"] == "session.created"
        with connected(guarded, additional_headers={"Authorization": "Bearer secret"}) as client:
            assert client.receive()["type"] == "session.created"


def test_a_client_that_leaves_frees_its_place(server):
    with connected(server) as client:
        client.receive()
        client.append(talk(5))
    server.wait(lambda: not server.app.state.realtime_sessions)
    server.wait(lambda: server.shared.metrics.live_sessions._value.get() == 0)


def test_a_connection_that_the_http_server_has_closed_is_no_fault_of_ours(server, monkeypatch, caplog):
    async def send_text(self, text):  # as uvicorn's, where something that is no frame came before
        raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")

    monkeypatch.setattr("starlette.websockets.WebSocket.send_text", send_text)
    left = server.shared.metrics.disconnects._value.get()
    with connected(server):
        server.wait(lambda: server.shared.metrics.disconnects._value.get() > left)
    server.wait(lambda: not server.app.state.realtime_sessions)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_model_that_fails_fails_the_item_and_nothing_else(ear):
    with served.running() as server, connected(server) as client:
        client.receive()
        client.update(transcription={"language": "en"})
        server.loader.inference.fails = RuntimeError("/secret/path")
        client.append(talk(1.5))
        failed = client.until(f"{TRANSCRIPTION}.failed")
        assert "secret" not in json.dumps(failed)
        append_in_pieces(client, talk(1, 1.0))
        client.until(f"{TRANSCRIPTION}.completed")


def test_lag_is_told_and_nothing_is_lost(ear):
    with served.running() as server, connected(server) as client:
        client.receive()
        client.update(transcription={"language": "en"})
        server.loader.inference.go_on.clear()
        client.append(talk(2))
        for _ in range(12):
            client.append(talk(1))
        server.wait(lambda: server.loader.inference.n_waiting)
        server.loader.inference.go_on.set()
        client.append(talk(0.5, 1.5))
        completed = client.until(f"{TRANSCRIPTION}.completed")
        assert completed["end"] - completed["start"] == pytest.approx(14.8, abs=0.1)
        assert client.lags == [] or max(client.lags) > 5


@pytest.mark.filterwarnings("ignore:connect\\(\\) must be used:DeprecationWarning")  # the client's own use
def test_openais_own_client(server):
    options = {"model": "whisper-1", "websocket_connection_options": patient.SOCKET}
    with server.openai().realtime.connect(**options) as connection:
        session = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}
        connection.session.update(session=session)
        pcm = (talk(2, 1.5) * 32767).astype("<i2").tobytes()
        connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
        kinds = []
        for event in connection:
            kinds.append(event.type)
            if event.type == f"{TRANSCRIPTION}.completed":
                assert isinstance(event.transcript, str)
                break
        assert kinds[:3] == ["session.created", "session.updated", "input_audio_buffer.speech_started"]


def test_a_server_that_ends_while_a_client_leaves(server, client):
    """The client's close has come, the connection is not yet gone, and the server ends."""
    closing = bytes([0x88, 0x82, 0, 0, 0, 0]) + (1000).to_bytes(2)  # RFC 6455: close, two bytes, of a mask of zeros
    (connection,) = (one for one in server.server.server_state.connections if isinstance(one, WebSocketsSansIOProtocol))

    def leave_and_end():
        connection.data_received(closing)
        connection.shutdown()

    server.on_its_loop(leave_and_end)
    with pytest.raises(ConnectionClosed) as closed:
        client.socket.recv(timeout=60)
    assert closed.value.rcvd.code == 1000
