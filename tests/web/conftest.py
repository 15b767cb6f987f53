"""Real Chromium, the page on a server, and a log of all that it asks for and complains about."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import soundfile
import soxr

from tests.support.mock_server import Behaviour, make_app, serve
from tests.support.web_page import SPEECH, ready, upload

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--disable-audio-output",  # no sound card is looked for: where there is none, that may take long
    "--use-fake-ui-for-media-stream",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium_path():
    """Where Chromium is."""
    pytest.importorskip("playwright", reason="the group dev is not installed: no playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: install the package chromium")
    return path


@pytest.fixture(scope="session")
def microphone_file(tmp_path_factory):
    """What the fake microphone hears: the sample, as the WAV file that Chromium wants."""
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    samples, rate = soundfile.read(SPEECH)
    soundfile.write(path, soxr.resample(samples, rate, 48_000), 48_000)
    return path


@pytest.fixture(scope="module")
def chromium(chromium_path, microphone_file):
    """One browser for a module; it must end with it, since its event loop would be in others' way."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone_file}"]
        )
        yield browser
        browser.close()


@dataclass
class Log:
    """What pages asked for and complained about. expected: parts of complaints that a test provokes."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def follow(self, page):
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )

    def expect_a_server_to_go(self):
        """Which of these Chromium says of a server that ends, if any, depends on what was under way just then."""
        cut = ("EMPTY_RESPONSE", "SOCKET_NOT_CONNECTED", "INCOMPLETE_CHUNKED_ENCODING", "CONTENT_LENGTH_MISMATCH")
        self.expected += ["net::ERR_CONNECTION_", *(f"net::ERR_{name}" for name in cut), "WebSocket"]

    def unexpected(self):
        return [text for text in self.complaints if not any(part in text for part in self.expected)]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def pages():
    """What closes the pages of a test: before their server ends, or they complain that it is gone."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def open_page(chromium, log, pages):
    """Opens a page: ``open_page(url, dark=True, width=390)``. In the end nothing may have left the page's origin, and
    the page may not have complained."""
    origins = set()

    def open_one(url, *, dark=False, width=1100, height=820, microphone=True):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            permissions=["clipboard-read", "clipboard-write", *(["microphone"] if microphone else [])],
        )
        context.set_default_timeout(60_000)
        pages.callback(context.close)
        origins.add(urlsplit(url).netloc)
        page = context.new_page()
        log.follow(page)
        page.goto(url)
        return page

    yield open_one
    pages.close()
    assert log.unexpected() == []
    assert log.requests
    assert [url for url in log.requests if not is_own(url, origins)] == []


def is_own(url, origins):
    scheme, netloc, *_ = urlsplit(url)
    return scheme in ("blob", "data") or netloc in origins


@pytest.fixture(scope="module")
def mock_address():
    """A server that behaves as ``behaviour`` says, and its app."""
    app = make_app()
    with serve(app) as address:
        yield address, app


@pytest.fixture
def behaviour(mock_address):
    """The mock's behaviour, one for each test: what another has left behind may still come to its end."""
    _, app = mock_address
    app.state.behaviour = Behaviour()
    return app.state.behaviour


@pytest.fixture
def page(open_page, mock_address, behaviour):
    """The page on the mock, ready for use."""
    page = open_page(mock_address[0])
    ready(page)
    return page


@pytest.fixture
def done(page):
    """The page with a transcript and its recording."""
    upload(page)
    return page


@pytest.fixture
def download():
    """The text of a download: ``download(page, "srt")``; its name must be that of the recording."""

    def save(page, format, stem="jfk"):
        with page.expect_download() as info:
            page.click("#downloads summary")
            page.click(f"#download-list [data-format={format}]")
        assert info.value.suggested_filename == f"{stem}.{format}"
        return Path(info.value.path()).read_bytes().decode()

    return save
