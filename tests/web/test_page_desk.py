"""The page on a server with a desk for jobs: what is under way outlives the page, and links lead anybody to it."""

import json
import threading

import pytest

from tests.support import patient
from tests.support.web_page import SPEECH, ready, saved, says, until, upload_what_is_none, wait_done

pytest.importorskip("fastapi", reason="the extra server is not installed")

from tests.support.served import FakeLoader, running
from whisper_max.server.desk.store import JobStore


@pytest.fixture
def server(tmp_path, pages):
    with running(FakeLoader(), jobs=str(tmp_path)) as it:
        yield it
        pages.close()


def jobs(server):
    return patient.get(f"{server.url}/v1/jobs").json()["data"]


def known(page, log):
    """Wait until the page knows of the job that it has left: it asks for what was heard of it."""
    until(page, lambda: any(url.partition("?")[0].endswith("/segments") for url in log.requests))


def test_a_job_goes_on_while_the_page_is_closed(open_page, server, download, log):
    page = open_page(server.url)
    ready(page)
    server.loader.inference.go_on.clear()
    page.set_input_files("#file", SPEECH)
    server.wait(lambda: [job["status"] for job in jobs(server)] == ["running"])
    known(page, log)
    saved(page)
    page.goto("about:blank")
    server.loader.inference.go_on.set()
    server.wait(lambda: [job["status"] for job in jobs(server)] == ["done"])
    page.goto(server.url)
    page.click(".recording-name")
    wait_done(page)
    [job] = jobs(server)
    assert job["file_name"] == "jfk.flac"
    said = patient.get(f"{server.url}/v1/jobs/{job['id']}/segments").json()["data"]
    assert json.loads(download(page, "json"))["segments"] == said
    both = {"timestamp_granularities[]": ["segment", "word"]}
    direct = server.post(file=SPEECH.read_bytes(), response_format="verbose_json", **both).json()
    assert "".join(segment["text"] for segment in said).strip() == direct["text"]


def test_a_link_leads_others_to_the_transcript(open_page, server, download):
    page = open_page(server.url)
    ready(page)
    page.set_input_files("#file", SPEECH)
    wait_done(page)
    page.click(".segment-time >> nth=0")
    says(page, "#link-label", "Copied", lambda: page.keyboard.press("l"))
    link = page.evaluate("navigator.clipboard.readText()")
    assert f"#job={jobs(server)[0]['id']}" in link
    other = open_page(link)  # a browser of somebody else
    ready(other)
    until(other, "document.body.dataset.state === 'done'")
    assert download(other, "json") == download(page, "json")
    assert other.inner_text(".recording-name") == "jfk.flac"
    assert len(jobs(server)) == 1


def test_cancelling_and_a_link_to_nothing(open_page, server, log):
    log.expected.append("404")
    page = open_page(server.url)
    ready(page)
    server.loader.inference.go_on.clear()
    page.set_input_files("#file", SPEECH)
    server.wait(lambda: [job["status"] for job in jobs(server)] == ["running"])
    known(page, log)
    page.click("#cancel-button")
    server.wait(lambda: jobs(server) == [])
    server.loader.inference.go_on.set()
    until(page, "document.body.dataset.state === 'done'")
    other = open_page(f"{server.url}/#job=job_nothing")
    other.wait_for_selector("#message")
    assert other.inner_text("#message-text") == "The server does not have the transcript of this link."


def test_cancelling_before_the_server_has_told_the_job_ends_it(open_page, server, monkeypatch):
    add, go_on = JobStore.add, threading.Event()

    def slow(*args):
        job = add(*args)
        go_on.wait(60)
        return job

    monkeypatch.setattr(JobStore, "add", slow)
    page = open_page(server.url)
    ready(page)
    server.loader.inference.go_on.clear()
    page.set_input_files("#file", SPEECH)
    server.wait(lambda: len(jobs(server)) == 1)
    until(page, "document.querySelector('#job-phase').textContent.startsWith('Waiting for the server')")  # all is sent
    page.click("#cancel-button")
    go_on.set()
    server.wait(lambda: jobs(server) == [])
    server.loader.inference.go_on.set()
    until(page, "document.body.dataset.state === 'done'")


def test_cancelling_before_the_browser_has_told_that_all_was_sent_ends_the_job(open_page, server):
    page = open_page(server.url)
    ready(page)
    asked = page.evaluate(
        """async () => {
            const { transcribeAtDesk } = await import(new URL('assets/desk.js', document.baseURI));
            const asked = [];
            window.XMLHttpRequest = class {
                upload = {};
                status = 202;
                responseText = '{"id": "job_1", "status": "queued", "progress": null}';
                open() {}
                abort() { asked.push('aborted'); this.onabort(); }
                send() { setTimeout(() => { this.upload.onload(); setTimeout(() => this.onload()); }, 100); }
            };
            window.fetch = async (path, { method }) => {
                asked.push(`${method} ${path}`);
                return new Response('{"data": []}');
            };
            const cancel = new AbortController();
            const follow = { onUpload() {}, onProgress() {}, onSegment() {}, signal: cancel.signal };
            const settings = { model: 'base', language: '', task: 'transcribe' };
            const file = new File(['RIFF'], 'a.wav');
            const job = transcribeAtDesk({ file, name: 'a.wav', settings, id: undefined }, follow, () => {});
            cancel.abort();
            await job.catch(({ name }) => asked.push(name));
            return asked;
        }"""
    )
    assert asked == ["GET v1/jobs/job_1/segments?start=0", "DELETE v1/jobs/job_1", "AbortError"]


def test_an_error_is_the_job_s(open_page, server, tmp_path, log):
    log.expected.append("400")
    page = open_page(server.url)
    ready(page)
    upload_what_is_none(page, tmp_path)
    assert page.locator(".recording[data-status=failed]").count() == 1
