"""The field ``url``: fetched from the hosts that the server was told, and from no other."""

import pytest

from tests.support.http_store import HttpStore, http_store
from tests.support.served import wav

pytest.importorskip("fsspec", reason="the extra remote is not installed")


@pytest.fixture(scope="module")
def web():
    with http_store(HttpStore(wav(2.0))) as store:
        yield store


@pytest.fixture(scope="module")
def fetching():
    from tests.support.served import running

    with running(url_hosts=("127.0.0.1",), max_upload=1) as server:
        yield server


def post(server, **fields):
    answer = server.http().post("/v1/audio/transcriptions", files={k: (None, v) for k, v in fields.items()})
    return answer.status_code, answer.json()


def test_a_recording_by_its_address_is_as_if_it_were_sent(fetching, web, expected):
    status, body = post(fetching, model="whisper-1", url=web.url("/talk.wav"))
    assert (status, body["text"]) == (200, expected(web.content).text.strip())


def test_a_server_that_was_told_no_hosts_fetches_nothing(server, web):
    n_requests = len(web.requests)
    status, body = post(server, model="whisper-1", url=web.url())
    assert (status, body["error"]["code"], body["error"]["param"]) == (400, "url_not_allowed", "url")
    assert len(web.requests) == n_requests


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:{port}/a.wav",
        "file:///etc/passwd",
        "/etc/passwd",
        "s3://127.0.0.1/x",
        "http://[",
        "memory://x",
    ],
)
def test_other_addresses_are_refused(fetching, web, address):
    status, body = post(fetching, model="whisper-1", url=address.format(port=web.port))
    assert (status, body["error"]["code"]) == (400, "url_not_allowed")


def test_a_redirect_to_another_host_is_refused(fetching, web):
    n_requests = len(web.requests)
    web.redirect = web.url(host="localhost")
    status, body = post(fetching, model="whisper-1", url=web.url("/moved"))
    assert (status, body["error"]["code"]) == (400, "invalid_audio")
    assert "not one of those allowed" in body["error"]["message"]
    assert [path for path, _ in web.requests[n_requests:]] == ["/moved"]


def test_file_and_address_together_are_refused(fetching, web):
    answer = fetching.http().post(
        "/v1/audio/transcriptions",
        data={"model": "whisper-1", "url": web.url()},
        files={"file": ("a.wav", web.content)},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "duplicate_field")


def test_an_endless_recording_is_bounded(fetching, web):
    web.endless = True
    try:
        status, body = post(fetching, model="whisper-1", url=web.url())
    finally:
        web.endless = False
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert post(fetching, model="whisper-1", url=web.url())[0] == 200
