"""The page on the real server, with a model of fake logits: what is shown and saved is what the library says."""

import io
import json

import pytest

from tests.support.web_page import SPEECH, ready, upload, upload_what_is_none
from whisper_max import api
from whisper_max.output import FORMATS, render

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.served import FakeLoader, running, vocabulary, wav


@pytest.fixture(scope="module")
def server():
    with running(FakeLoader()) as it:
        yield it


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(wav(40))
    return path


def test_downloads_are_what_the_library_says(open_page, server, recording, download):
    page = open_page(server.url)
    ready(page)
    upload(page, recording)
    model = api.Model(FakeInference(DIMS), vocabulary())
    expected = model.transcribe(io.BytesIO(recording.read_bytes()), word_timestamps=True)
    assert expected.segments
    for format in FORMATS:
        text = download(page, format, "talk")
        if format == "json":
            saved = json.loads(text)
            assert saved == expected.to_dict()
        else:
            assert text == render(expected, format)


def test_cancelling_frees_the_place(open_page, server, recording):
    page = open_page(server.url)
    ready(page)
    server.loader.inference.go_on.clear()
    page.set_input_files("#file", recording)
    server.wait(lambda: server.shared.admission.n_requests == 1)
    page.click("#cancel-button")
    server.loader.inference.go_on.set()
    server.wait(lambda: server.shared.admission.n_requests == 0)
    page.wait_for_selector("[data-state=done]")
    assert page.is_hidden("#message")


def test_a_file_that_is_no_recording(open_page, server, tmp_path, log):
    log.expected.append("400")
    page = open_page(server.url)
    ready(page)
    upload_what_is_none(page, tmp_path)
    assert str(tmp_path) not in page.inner_text("#message")


def test_a_key(open_page, log):
    log.expected.append("401")
    with running(FakeLoader(), api_keys=("sesame",)) as server:
        page = open_page(server.url)
        page.wait_for_selector("#key")
        page.fill("#key", "sesame")
        page.keyboard.press("Enter")
        ready(page)
        upload(page, SPEECH)
        assert page.locator(".segment").count() > 0
