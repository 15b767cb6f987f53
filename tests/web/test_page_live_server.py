"""Talking to the real server: a fake microphone, the socket's own handler, a model of fake logits."""

import itertools
import signal

import pytest

from tests.support.web_page import ready, until

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("websockets", reason="the extra server is not installed")

from tests.support.served import FakeLoader, running
from whisper_max.server.realtime import socket as realtime


@pytest.fixture
def server(monkeypatch, pages):
    """Its ear hears 1.5 s of speech and 1 s of silence in turn, whatever the microphone plays."""

    def ear():
        chunks = itertools.count()
        return lambda chunk: float(next(chunks) % 78 < 47)

    monkeypatch.setattr(realtime, "new_detector", ear)
    with running(FakeLoader()) as it:
        yield it
        pages.close()


COMMITTED = "[...document.querySelectorAll('#captions span:not(.tentative)')].map((span) => span.textContent).join('')"


def committed_text(page, at_least):
    until(page, f"{COMMITTED}.length >= {at_least}")
    return page.evaluate(COMMITTED)


def test_what_the_socket_commits_is_the_transcript(open_page, server, download):
    page = open_page(server.url)
    ready(page)
    page.select_option("#language", "en")
    page.click("#talk-button")
    committed = committed_text(page, at_least=20)
    assert len(server.app.state.realtime_sessions) == 1
    page.click("#stop-button")
    page.wait_for_selector("[data-state=done]")
    said = " ".join(each.strip() for each in page.locator(".segment-text").all_inner_texts())
    assert "".join(said.split()).startswith("".join(committed.split()))
    assert "".join(download(page, "txt", "recording").split()) == "".join(said.split())
    server.wait(lambda: not server.app.state.realtime_sessions)


def test_silence_says_nothing(open_page, server, monkeypatch):
    monkeypatch.setattr(realtime, "new_detector", lambda: lambda chunk: 0.0)
    page = open_page(server.url)
    ready(page)
    encoded = server.loader.inference.encoded
    page.click("#talk-button")
    until(page, "document.querySelector('#live-state')?.textContent.trim() === 'Listening'")
    until(page, "document.querySelector('#live-time').textContent >= '0:02'")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-state=done]")
    assert page.locator(".segment").count() == 0
    assert server.loader.inference.encoded == encoded


def test_a_server_that_stops_keeps_what_was_said(open_page, server, log):
    log.expect_a_server_to_go()
    page = open_page(server.url)
    ready(page)
    page.select_option("#language", "en")
    page.click("#talk-button")
    committed = committed_text(page, at_least=5)
    server.server.handle_exit(signal.SIGTERM, None)
    page.wait_for_selector("#message")
    page.wait_for_selector("[data-state=done]")
    assert "".join(committed.split()) in "".join("".join(page.locator(".segment-text").all_inner_texts()).split())
