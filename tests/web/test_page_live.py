"""Talking: a fake microphone that plays a file."""

import numpy as np
import pytest
import soxr

from tests.support.web_page import until


def text(page, selector):
    return page.inner_text(selector).strip()


def test_captions_come_while_somebody_talks(page, behaviour, download):
    page.select_option("#language", "de")
    page.click("#talk-button")
    spans = "[...document.querySelectorAll('#captions span')].map((span) => span.textContent)"
    both = f"(([said, more]) => said?.includes('three') && more !== '' ? [said, more] : null)({spans})"
    committed, tentative = until(page, both)  # between a word and the next guess there is none
    words = " one two three four five six seven eight nine ten"
    assert committed.startswith(" one two three")
    assert words.startswith(committed + tentative)
    assert tentative.count(" ") == 1
    assert page.get_attribute("#captions", "aria-live") == "polite"
    assert page.get_attribute("#captions .tentative", "aria-hidden") == "true"
    assert text(page, "#live-state") == "Listening"
    [update] = behaviour.live_updates
    assert update["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert update["audio"]["input"]["transcription"] == {"model": "base", "language": "de"}
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-state=done]")
    said = text(page, ".segment-text")
    assert said.startswith("one two three four")
    until(page, "Number(document.querySelector('#waveform').getAttribute('aria-valuemax')) > 0")  # once it is decoded
    seconds = page.evaluate("document.querySelector('#waveform').getAttribute('aria-valuemax')")
    assert abs(float(seconds) - behaviour.live_seconds) <= 1
    assert download(page, "txt", "recording") == f"{said}\n"
    page.click("#again-button")
    until(page, "document.querySelectorAll('.segment').length === 2")
    [form] = behaviour.forms
    assert form["bytes"] == 44 + round(behaviour.live_seconds * 48_000)


def test_a_broken_connection_keeps_what_was_said(page, behaviour, log):
    log.expect_a_server_to_go()
    behaviour.live_breaks = True
    page.click("#talk-button")
    page.wait_for_selector("#message")
    assert text(page, "#message-text") == "The connection to the server broke."
    page.wait_for_selector("[data-state=done]")
    assert page.is_visible("#player")


def test_nothing_is_sent_on_a_socket_that_closes(page):
    n_sent = page.evaluate(
        """async () => {
            const { Realtime } = await import(new URL('assets/realtime.js', document.baseURI));
            const sent = [];
            const socket = { send: (data) => sent.push(data), bufferedAmount: 0 };
            const session = new Realtime(socket, () => {}, () => {});
            for (const state of [WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED]) {
                socket.readyState = state;
                session.append(new Int16Array(2));
            }
            return sent.length;
        }"""
    )
    assert n_sent == 1


def test_a_microphone_that_is_not_allowed(open_page, mock_address, behaviour):
    page = open_page(mock_address[0])
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
    )
    page.click("#talk-button")
    page.wait_for_selector("#message")
    assert text(page, "#message-text") == "The browser does not let this page use the microphone."
    assert page.is_visible("#drop")


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_resampling_keeps_the_wave(page, rate):
    time = np.arange(rate // 2) / rate
    samples = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.25 * np.sin(2 * np.pi * 3100 * time)
    resampled = page.evaluate(
        """async ([samples, rate]) => {
            const { Resampler } = await import(new URL('assets/resampler.js', document.baseURI));
            const resampler = new Resampler(rate, 24000);
            const input = new Float32Array(samples);
            const output = [];
            for (let i = 0; i < input.length; i += 128) output.push(...resampler.push(input.subarray(i, i + 128)));
            return output;
        }""",
        [samples.tolist(), rate],
    )
    assert len(resampled) > 0.99 * 12_000
    inner = slice(200, len(resampled) - 200)
    expected = soxr.resample(samples, rate, 24_000, quality="VHQ")
    assert np.abs(np.array(resampled)[inner] - expected[: len(resampled)][inner]).max() < 2e-3


def test_resampling_removes_what_24_khz_can_t_hold(page):
    loud = page.evaluate(
        """async () => {
            const { Resampler } = await import(new URL('assets/resampler.js', document.baseURI));
            const input = Float32Array.from({ length: 24000 }, (_, i) => Math.sin((2 * Math.PI * 16000 * i) / 48000));
            return Math.max(...new Resampler(48000, 24000).push(input).slice(100).map(Math.abs));
        }"""
    )
    assert loud < 1e-3
