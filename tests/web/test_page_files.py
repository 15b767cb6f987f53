"""A recording from the disk: upload, progress, cancelling, errors."""

from tests.support.web_page import SPEECH, drawn, ready, until, upload, wait_done


def text(page, selector):
    return page.inner_text(selector).strip()


def test_a_file_becomes_a_transcript(done, behaviour):
    assert done.locator(".segment-text").all_inner_texts() == [
        "And so, my fellow Americans, ask not what your country can do for you,",
        "ask what you can do for your country & <others>.",
    ]
    assert done.locator(".segment-time").all_inner_texts() == ["0:00", "0:07"]
    assert text(done, "#transcript-facts") == "24 words · 0:11 · English"
    assert (text(done, "#player-name"), text(done, "#player-duration")) == ("jfk.flac", "0:11")
    [form] = behaviour.forms
    assert form == {
        "path": "/v1/audio/transcriptions",
        "bytes": SPEECH.stat().st_size,
        "model": ["base"],
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": ["segment", "word"],
        "stream": ["true"],
        "progress": ["true"],
    }


def test_the_waveform_is_drawn_with_the_segments_on_it(done, log):
    log.expected.append("willReadFrequently")  # tests read the canvas, the page never does
    tints = done.evaluate(
        """() => new Promise((resolve) => requestAnimationFrame(() => {
            const canvas = document.querySelector('#wave-canvas');
            const at = (share) => canvas.getContext('2d').getImageData(canvas.width * share, 2, 1, 1).data[3];
            resolve([0.3, 0.66, 0.72, 0.85, 0.995].map(at));
        }))"""
    )
    assert tints[0] == tints[1] > tints[2] == tints[3] > tints[4] == 0  # 0 to 7.6 s, 7.6 to 10.9 of 11 s
    assert 0.05 < drawn(done) < 0.6


def test_dropping_a_file(page, behaviour):
    page.evaluate(
        """async () => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(1234)], 'dropped.wav'));
            const drop = document.querySelector('#drop');
            drop.dispatchEvent(new DragEvent('dragover', { bubbles: true, dataTransfer: transfer }));
            drop.dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: transfer }));
        }"""
    )
    page.wait_for_selector("[data-state=done]")
    assert behaviour.forms[0]["bytes"] == 1234
    until(page, "document.querySelector('#player-note').textContent !== ''")
    assert text(page, "#player-note") == "This browser can't play the recording."
    assert page.locator(".segment").count() == 2


def test_text_that_is_dragged_is_no_file(done):
    """It may be dropped where text is edited; elsewhere nothing becomes of it, and the page stays."""
    done.click("#search-button")
    prevented = done.evaluate(
        """() => ['#drop', '.segment-text', '#search-text'].map((place) => {
            const transfer = new DataTransfer();
            transfer.setData('text/plain', 'https://example.org/');
            const over = new DragEvent('dragover', { bubbles: true, cancelable: true, dataTransfer: transfer });
            document.querySelector(place).dispatchEvent(over);
            return over.defaultPrevented;
        })"""
    )
    assert prevented == [True, True, False]
    assert "over" not in (done.get_attribute("#drop", "class") or "").split()


def test_settings_are_sent(page, behaviour):
    page.select_option("#language", label="German")
    page.select_option("#task", "translate")
    upload(page)
    assert behaviour.forms[0]["path"] == "/v1/audio/translations"
    assert behaviour.forms[0]["language"] == ["de"]
    page.select_option("#model", "tiny.en")
    assert page.is_disabled("#language")
    upload(page)
    until(page, "document.querySelectorAll('.segment').length === 2")
    assert behaviour.forms[1]["path"] == "/v1/audio/transcriptions"
    assert (behaviour.forms[1]["model"], behaviour.forms[1]["language"]) == (["tiny.en"], ["en"])


def test_segments_and_progress_come_while_it_runs(page, behaviour):
    behaviour.holds_at = 1
    page.set_input_files("#file", SPEECH)
    until(page, "document.querySelector('#job-phase').textContent.startsWith('0:07 of 0:11 transcribed, about 0:')")
    until(page, "document.querySelectorAll('.segment').length === 1")
    assert abs(page.evaluate("document.querySelector('#job-progress').value") - 7.6 / 11) < 1e-6
    assert page.is_hidden("#downloads")
    behaviour.holds_at = None
    wait_done(page)
    assert page.locator(".segment").count() == 2
    assert page.is_hidden("#job")


def test_cancelling_frees_the_server_and_keeps_what_came(page, behaviour):
    behaviour.holds_at = 1
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector(".segment")
    page.click("#cancel-button")
    wait_done(page)
    assert page.locator(".segment").count() == 1
    assert page.is_hidden("#message")
    until(page, lambda: behaviour.gone == 1)
    assert behaviour.finished == 0
    behaviour.holds_at = None
    upload(page)
    until(page, "document.querySelectorAll('.segment').length === 2")


def test_nothing_said(page, behaviour):
    behaviour.no_speech = True
    upload(page)
    assert text(page, "#transcript-facts") == "No speech was found."


def test_a_busy_server(page, behaviour, log):
    log.expected.append("429")
    behaviour.status, behaviour.retry_after = 429, 700
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    assert text(page, "#message p") == "The server is busy. Try again in 700 s."
    behaviour.status = 200
    page.click("#retry-button")
    until(page, "document.querySelectorAll('.segment').length === 2")
    assert page.is_hidden("#message")


def test_what_the_server_says_is_shown_as_a_sentence(page, behaviour, log):
    log.expected.append("400")
    behaviour.status, behaviour.message = 400, "file: not a recording"
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    assert text(page, "#message p") == "File: not a recording. Choose another file or other settings."
    page.click("#dismiss-button")
    assert page.is_hidden("#message")


def test_an_error_in_the_middle_keeps_what_came(page, behaviour):
    behaviour.breaks_after = 1
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    assert text(page, "#message p") == "The engine failed. Try again; what was recognised so far is kept."
    assert page.locator(".segment").count() == 1
    assert page.is_visible("#downloads")


def test_no_server(page, log):
    log.expected.append("ERR_FAILED")
    page.route("**/v1/**", lambda route: route.abort())
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    assert text(page, "#message-text") == "The server doesn't answer."


def test_an_api_key_is_asked_for_and_forgotten(open_page, mock_address, behaviour, log):
    log.expected.append("401")
    behaviour.key = "sesame"
    page = open_page(mock_address[0])
    page.wait_for_selector("#key")
    assert text(page, "#message-text") == "This server asks for an API key."
    for key, message in (("wrong", "The server does not accept this API key."), ("sesame", None)):
        page.fill("#key", key)
        page.keyboard.press("Enter")
        if message is not None:
            until(page, f"document.querySelector('#message-text').textContent === '{message}'")
            page.wait_for_selector("#key")
    ready(page)
    upload(page)
    assert page.is_hidden("#message")
    assert page.evaluate("[Object.entries(localStorage), Object.entries(sessionStorage), document.cookie]") == [
        [],
        [],
        "",
    ]
    page.reload()
    page.wait_for_selector("#key")
