"""The page on the real server, with a model of fake logits: what is shown and saved is what the library says."""

import io
import json

import numpy as np
import pytest
import soundfile

from tests.support.web_page import SPEECH, edit, loud_part, ready, saved, until, upload, upload_what_is_none
from whisper_max import api
from whisper_max.output import FORMATS, render

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.served import FakeLoader, running, wav
from tests.support.synthetic_vocabulary import synthetic_vocabulary


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
    model = api.Model(FakeInference(DIMS), synthetic_vocabulary())
    expected = model.transcribe(io.BytesIO(recording.read_bytes()), word_timestamps=True)
    assert expected.segments
    for format in FORMATS:
        text = download(page, format, "talk")
        if format == "json":
            saved = json.loads(text)
            assert saved == expected.to_dict()
        else:
            assert text == render(expected, format)


def test_an_edited_text_is_aligned_again_and_keeps_its_edits(open_page, server, recording, download):
    recording.write_bytes(wav(20, 2))
    page = open_page(server.url)
    ready(page)
    page.select_option("#language", "en")
    upload(page, recording)
    assert page.is_hidden("#align-button")
    before = json.loads(download(page, "json", "talk"))["segments"]
    edit(page, 0, f"Indeed {before[0]['text'].strip()}")
    edited = json.loads(download(page, "json", "talk"))["segments"]
    page.click("#align-button")
    until(page, "document.querySelector('#align-label').textContent === 'Align again'")
    first, *others = json.loads(download(page, "json", "talk"))["segments"]
    assert page.is_hidden("#message")
    assert others == before[1:]
    assert (first["text"], first["edited"]) == (edited[0]["text"], True)
    assert "".join(word["word"] for word in first["words"]) == first["text"]
    assert [word for word in edited[0]["words"] if "probability" not in word]
    assert all("probability" in word for word in first["words"])
    page.keyboard.press("Control+z")
    assert json.loads(download(page, "json", "talk"))["segments"] == edited


def test_a_text_that_the_recording_does_not_say_stays_as_it_is(open_page, server, recording, download, log):
    log.expected.append("400")
    page = open_page(server.url)
    ready(page)
    upload(page, recording)
    for number in range(page.locator(".segment").count()):
        edit(page, number, f"something else altogether {number}")
    edited = download(page, "json", "talk")
    page.click("#align-button")
    page.wait_for_selector("#message")
    assert "the recording does not say it" in page.inner_text("#message-text")
    assert page.is_enabled("#align-button")
    assert download(page, "json", "talk") == edited


def test_channels_are_speakers_and_a_wrong_setting_is_told(open_page, server, tmp_path, download, log):
    log.expected.append("400")
    path = tmp_path / "call.wav"
    soundfile.write(path, np.random.default_rng(5).normal(0, 0.1, (16_000 * 35, 2)), 16_000)
    page = open_page(server.url)
    ready(page)
    page.click("#more summary")
    page.select_option("#option-channels", "separate")
    page.select_option("#language", "en")
    upload(page, path)
    assert page.locator(".speaker").count() > 0
    said = json.loads(download(page, "json", "call"))["segments"]
    assert {segment.get("speaker") for segment in said} >= {"Speaker 1", "Speaker 2"}
    page.select_option("#option-channels", "")
    page.fill("#option-speakers", "a few")
    page.set_input_files("#file", path)
    page.wait_for_selector("#message")
    assert "Speakers:" in page.inner_text("#message-text")


def test_a_file_without_a_byte(open_page, pages, server, tmp_path, log):
    log.expected.append("400")
    (tmp_path / "empty.mp3").touch()
    with running(FakeLoader(), jobs=str(tmp_path / "jobs")) as desk:
        for each in (server, desk):
            page = open_page(each.url)
            ready(page)
            page.set_input_files("#file", tmp_path / "empty.mp3")
            page.wait_for_selector("#message")
            assert page.inner_text("#message-text").startswith("File:")
        pages.close()


def test_a_long_recording_has_its_waveform_from_the_server_once(open_page, server, tmp_path, log):
    log.expected.append("willReadFrequently")
    path = tmp_path / "long.flac"
    samples = np.zeros(8000 * 31 * 60, np.float32)
    samples[: len(samples) // 2] = 0.5 * np.sin(np.arange(len(samples) // 2) / 9)
    soundfile.write(path, samples, 8000)
    page = open_page(server.url)
    ready(page)
    server.loader.inference.go_on.clear()  # its transcript is not wanted
    page.set_input_files("#file", path)
    until(page, "document.querySelector('#play-button').disabled === false")
    page.wait_for_selector("#waveform[aria-busy=false]", timeout=120_000)
    assert page.inner_text("#player-note") == ""
    assert loud_part(page) == pytest.approx([0, 0.5], abs=0.01)
    page.click("#cancel-button")
    server.loader.inference.go_on.set()
    page.wait_for_selector("[data-state=done]")
    saved(page)
    page.reload()
    ready(page)
    until(page, "document.querySelector('#play-button').disabled === false")
    page.wait_for_selector("#waveform[aria-busy=false]")
    assert loud_part(page) == pytest.approx([0, 0.5], abs=0.01)
    assert len([url for url in log.requests if url.endswith("/v1/audio/peaks")]) == 1


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


def test_a_key(open_page, pages, log):
    log.expected.append("401")
    with running(FakeLoader(), api_keys=("sesame",)) as server:
        page = open_page(server.url)
        page.wait_for_selector("#key")
        page.fill("#key", "sesame")
        page.keyboard.press("Enter")
        ready(page)
        upload(page, SPEECH)
        assert page.locator(".segment").count() > 0
        pages.close()
