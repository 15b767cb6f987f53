"""The server as a Ray Serve application: which settings are its own, and that answers come through the proxy."""

import asyncio
from pathlib import Path

import httpx
import pytest

pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
pytest.importorskip("fastapi", reason="the extra server is not installed")

from whisper_max.errors import OptionError
from whisper_max.ray.serve import Replica, app
from whisper_max.server.settings import Settings

JFK = Path(__file__).parents[2] / "samples" / "jfk.flac"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({}, "listening beyond this machine needs an API key"),
        ({"port": "80", "allow_no_key": True}, "port: not the application's under Ray Serve; see http_options"),
        ({"wyoming": "tcp://0.0.0.0:1"}, "wyoming: not the application's"),
        ({"max_connections": 5}, "max_connections: not the application's"),
        ({"modle": "base"}, "modle: unknown setting"),
        ({"batch_size": "many", "allow_no_key": True}, "batch_size: not a value: expected int, found 'many'"),
        ({"jobs": "/tmp/jobs", "max_replicas": 2, "allow_no_key": True}, "jobs, max_replicas: one replica would have"),
        ({"min_replicas": 3, "allow_no_key": True}, "min_replicas, max_replicas: out of range"),
    ],
)
def test_what_is_not_the_applications_is_refused_by_name(args: dict, told: str):
    with pytest.raises(OptionError) as caught:
        app(args)
    assert told in str(caught.value)


def test_settings_as_text_and_as_values():
    args = {"api_keys": "one, two", "models": ["tiny.en"], "offline": "true", "threads": "2", "memory_budget": None}
    bound = app({**args, "max_replicas": "4", "max_requests": 10})
    deployment = bound._bound_deployment
    settings, alone = deployment.init_args
    assert (settings.api_keys, settings.models, settings.offline) == (("one", "two"), ("tiny.en",), True)
    assert not alone
    assert deployment.max_ongoing_requests > settings.max_requests  # so that the server itself says that it is busy
    assert deployment.ray_actor_options["num_cpus"] == 2


@pytest.mark.parametrize(("alone", "status"), [(True, 200), (False, 501)])
def test_what_means_one_server_is_refused_with_several(alone: bool, status: int):
    replica = Replica(Settings(model="none=/nowhere"), alone)

    async def get(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(replica.__serve_build_asgi_app__())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)

    answer = asyncio.run(get("/metrics"))
    assert answer.status_code == status
    if not alone:
        assert answer.json()["error"]["code"] == "not_with_replicas"
        assert "/metrics is not offered with several replicas" in answer.json()["error"]["message"]
    assert asyncio.run(get("/health")).status_code == 200
