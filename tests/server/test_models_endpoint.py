"""Models by name, within a memory budget; health, readiness and counters."""

import threading

import openai
import pytest

from tests.support.served import FakeLoader
from whisper_max.checkpoint.published import MODELS
from whisper_max.errors import CheckpointError
from whisper_max.server.loading import model_bytes

MIB = 1 << 20


def loaded(server):
    return [model.id for model in server.openai().models.list() if model.loaded]


def test_the_list(serving):
    with serving(model="base", models=("tiny.en", "mine=/srv/m")) as server:
        models = list(server.openai().models.list())
        assert [(model.id, model.object, model.loaded, model.default) for model in models] == [
            ("base", "model", True, True),
            ("tiny.en", "model", False, False),
            ("mine", "model", False, False),
        ]
        assert server.openai().models.retrieve("mine").id == "mine"
        assert server.openai().models.retrieve("whisper-1").id == "base"
        assert "/srv" not in server.http().get("/v1/models").text
        with pytest.raises(openai.NotFoundError):
            server.openai().models.retrieve("large-v3")


def test_least_recently_used_first(serving):
    with serving(FakeLoader(100 * MIB), model="a", models=("b", "c", "d"), memory_budget=250) as server:
        with server.http() as client:
            assert client.post("/v1/models/b").json()["loaded"] is True
            assert loaded(server) == ["a", "b"]
            assert server.post(model="a").status_code == 200
            client.post("/v1/models/c")
            assert loaded(server) == ["a", "c"]
            assert server.post(model="d").status_code == 200  # a request loads it, too
            assert loaded(server) == ["c", "d"]
            assert client.delete("/v1/models/c").json() == {"id": "c", "object": "model", "deleted": True}
            assert client.delete("/v1/models/c").json()["deleted"] is False
            assert loaded(server) == ["d"]
            assert client.delete("/v1/models/x").status_code == 404
        assert server.loader.loaded == ["a", "b", "c", "d"]


def test_models_in_use_stay(serving):
    with serving(FakeLoader(100 * MIB), model="a", models=("b",), memory_budget=150) as server:
        server.loader.inference.go_on.clear()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(server.post()))
        waiting.start()
        server.wait(lambda: any(n for _, n in server.shared.engines.loads().values()))
        with server.http() as client:
            refused = client.delete("/v1/models/a")
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_in_use")
            refused = server.post(model="b")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "memory_budget")
            assert "retry-after" in refused.headers
        server.loader.inference.go_on.set()
        waiting.join()
        assert answers[0].status_code == 200
        assert server.post(model="b").status_code == 200


def test_a_model_beyond_the_budget(serving):
    loader = FakeLoader(100 * MIB)
    with serving(loader, model="a", models=("b",), memory_budget=150) as server:
        loader.n_bytes = 200 * MIB
        answer = server.post(model="b")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "memory_budget")
        assert loaded(server) == ["a"]


def test_many_who_ask_for_a_model_load_it_once(serving):
    with serving(model="a", models=("b",)) as server:
        answers = []
        asking = [threading.Thread(target=lambda: answers.append(server.post(model="b"))) for _ in range(6)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 6
        assert server.loader.loaded == ["a", "b"]


def test_a_model_that_can_not_be_loaded(serving, caplog):
    with serving(model="a", models=("b",)) as server:
        server.loader.fails = CheckpointError("damaged", where="/srv/models/b")
        answer = server.post(model="b")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert "/srv" not in answer.text
        assert "/srv/models/b: damaged" in caplog.text
        server.loader.fails = None
        assert server.post(model="b").status_code == 200


def test_estimates_grow_with_the_model_and_the_batch():
    names = ("tiny.en", "base", "small", "medium", "large-v3")
    sizes = [model_bytes(MODELS[name].dims, 8) for name in names]
    assert sizes == sorted(sizes)
    n_parameters = 37.2e6 + 0.6e6  # tiny.en, of openai-whisper's table: 39 M with its fixed positions and rounding
    assert model_bytes(MODELS["tiny.en"].dims, 0) == pytest.approx(4 * n_parameters, rel=0.03)
    base = MODELS["base"].dims
    window = 4 * 2 * 6 * 512 * (2 * 1500 + 448)
    assert model_bytes(base, 5) - model_bytes(base, 4) == window


# ---------------------------------------------------------------- health


def test_health(server):
    with server.http() as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json() == {"status": "ready"}


def test_it_answers_while_it_loads(serving):
    """Not ready, and who asks waits."""
    go_on = threading.Event()

    class Slow(FakeLoader):
        def load(self, source):
            assert go_on.wait(60)
            return super().load(source)

    with serving(Slow(), wait=False) as server:
        with server.http() as client:
            assert client.get("/health").status_code == 200
            assert (client.get("/ready").status_code, client.get("/ready").json()) == (503, {"status": "loading"})
        answers = []
        asking = threading.Thread(target=lambda: answers.append(server.post()))
        asking.start()
        server.wait(lambda: server.shared.admission.n_requests == 1)
        go_on.set()
        asking.join()
        assert answers[0].status_code == 200


def test_metrics(serving, make_wav):
    with serving() as server:
        server.post(make_wav(10))
        server.post(b"junk")
        server.post(make_wav(5), endpoint="translations", stream="true")
        wanted = {
            'whisper_max_requests_total{endpoint="transcriptions",status="200"}': 1,
            'whisper_max_requests_total{endpoint="transcriptions",status="400"}': 1,
            'whisper_max_requests_total{endpoint="translations",status="200"}': 1,
            'whisper_max_audio_seconds_total{model="base"}': 15,
            "whisper_max_upload_bytes_total": len(make_wav(10)) + len(b"junk") + len(make_wav(5)),
            "whisper_max_requests_in_flight": 0,
            'whisper_max_recordings_running{model="base"}': 0,
            'whisper_max_model_bytes{model="base"}': MIB,
        }

        def told():
            lines = server.http().get("/metrics").text.splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("whisper_max_"))
            return {name: float(values[name]) for name in wanted}

        server.wait(lambda: told()["whisper_max_requests_in_flight"] == 0)
        server.wait(lambda: told()['whisper_max_recordings_running{model="base"}'] == 0)
        assert told() == wanted
