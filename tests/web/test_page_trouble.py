"""What goes wrong in a new user's hands: full disks, removed recordings, empty files, long names, other scripts."""

import pytest

from tests.support.web_page import SPEECH, edit, ready, saved, says, until, upload, wait_done

TEXT = "[...document.querySelectorAll('.segment-text')].map((it) => it.textContent.trim())"
WORKING = "document.querySelectorAll('.recording[data-status=working]').length"
DONE = "document.querySelectorAll('.recording[data-status=done]').length"
ASKS = "dispatchEvent(new Event('beforeunload', { cancelable: true })) === false"  # the browser asks before it closes
LONG = f"{'a-very-long-name-' * 14}.flac"
ARABIC = "مرحبا بالعالم (2026)"


def names(page):
    return page.locator(".recording-name").all_inner_texts()


def remove(page, number=0):
    page.click(f".recording-close >> nth={number}")
    page.click("#confirm-go")


def quota(page, n_bytes):
    session = page.context.new_cdp_session(page)
    origin = page.evaluate("location.origin")
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, **({"quotaSize": n_bytes} if n_bytes else {})})


# ---------------------------------------------------------------- the browser's store


def test_a_full_store_says_so_asks_before_closing_and_has_room_again(page):
    quota(page, 100_000)
    upload(page)
    page.wait_for_selector("#message")
    assert page.inner_text("#message-text") == "The browser has no room for this recording."
    assert page.evaluate(TEXT)[0].startswith("And so")
    assert page.evaluate(ASKS)
    quota(page, None)
    page.click("#retry-button")
    until(page, "document.body.dataset.saved === 'true'")
    assert not page.evaluate(ASKS)
    page.reload()
    ready(page)
    wait_done(page)
    assert page.evaluate(TEXT)[0].startswith("And so")
    assert page.is_hidden("#message")


def test_what_had_no_room_is_kept_once_another_is_removed(page):
    quota(page, 100_000)
    for _ in range(2):
        upload(page)
        page.wait_for_selector("#message")
        page.click("#dismiss-button")
    quota(page, None)
    remove(page)
    until(page, "document.body.dataset.saved === 'true'")
    page.reload()
    ready(page)
    assert names(page) == ["jfk.flac"]
    page.click(".recording-name")
    wait_done(page)
    assert page.evaluate(TEXT)[0].startswith("And so")


def test_what_is_removed_while_it_is_worked_on_does_not_come_back(page, behaviour):
    behaviour.delay = 3600.0
    page.set_input_files("#file", [SPEECH] * 6)
    until(page, f"{WORKING} === 4")
    for _ in range(6):
        remove(page)
    assert page.is_hidden("#library")
    assert page.is_visible("#drop")
    until(page, lambda: behaviour.gone >= 4)
    saved(page)
    page.reload()
    ready(page)
    assert names(page) == []
    behaviour.delay = 0.0
    upload(page)
    assert page.evaluate(TEXT)[0].startswith("And so")


def test_a_browser_that_blocks_all_storage_still_transcribes(open_page, mock_address, behaviour):
    page = open_page(mock_address[0])
    blocked = "{ get() { throw new DOMException('blocked', 'SecurityError'); } }"
    page.add_init_script(
        f"for (const it of ['indexedDB', 'localStorage']) Object.defineProperty(window, it, {blocked})"
    )
    page.reload()
    ready(page)
    upload(page)
    page.click("#theme-button")
    assert page.get_attribute("#theme-button", "aria-pressed") == "true"
    assert page.evaluate(TEXT)[0].startswith("And so")


# ---------------------------------------------------------------- the server


def test_a_server_that_goes_and_comes_back(done, behaviour, log):
    log.expected.append("ERR_FAILED")
    edit(done, 0, "First.")
    done.route("**/v1/**", lambda route: route.abort())
    done.set_input_files("#file", SPEECH)
    done.wait_for_selector("#retry-button")
    until(done, "document.querySelectorAll('.recording[data-status=queued]').length === 1")
    done.unroute("**/v1/**")
    done.dispatch_event("#retry-button", "click")  # be it gone because the page has tried again by itself
    until(done, f"{DONE} === 2")
    done.click(".recording-name >> nth=1")
    wait_done(done)
    assert done.evaluate(TEXT)[0] == "First."


def test_a_server_that_does_not_describe_itself(open_page, mock_address, behaviour, log):
    log.expected.append("ERR_FAILED")
    page = open_page(mock_address[0])
    page.route("**/openapi.json", lambda route: route.abort())
    page.reload()
    page.wait_for_selector("#message")
    assert page.inner_text("#message-text") == "The server doesn't answer."
    page.unroute("**/openapi.json")
    page.click("#retry-button")
    upload(page)


# ---------------------------------------------------------------- hands


def test_double_clicks(done, behaviour):
    behaviour.holds_at = 0
    done.dblclick("#again-button")
    until(done, lambda: len(behaviour.forms) == 2)
    behaviour.holds_at = None
    until(done, f"{DONE} === 1")
    wait_done(done)
    assert len(behaviour.forms) == 2
    edit(done, 0, "First.")
    done.dblclick(".segment-time >> nth=0")
    done.keyboard.press("Escape")
    done.click("#undo-button")
    done.dblclick(".recording-close")
    assert done.is_visible("#confirm")
    done.click("#confirm-stay")
    done.dblclick("#talk-button")
    until(done, "document.querySelector('#captions').textContent.includes('two')")
    done.dblclick("#stop-button")
    until(done, f"{DONE} === 2")
    assert len(behaviour.live_updates) == 1
    assert names(done) == ["recording.wav", "jfk.flac"]


def test_without_a_clipboard_the_page_says_so(done):
    done.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as by plain http
    for button, label in (("#copy-button", "#copy-label"), ("#link-button", "#link-label")):
        name = done.inner_text(label)
        says(done, label, "Not allowed", lambda button=button: done.click(button))
        done.click(button)
        until(done, f"document.querySelector('{label}').textContent === '{name}'")


# ---------------------------------------------------------------- names and scripts


@pytest.mark.parametrize("width", [375, 1100])
def test_a_very_long_name(open_page, mock_address, behaviour, tmp_path, width):
    path = tmp_path / LONG
    path.write_bytes(SPEECH.read_bytes())
    page = open_page(mock_address[0], width=width)
    ready(page)
    upload(page, path)
    page.keyboard.press("p")
    page.fill("#speaker-name", "W" * 200)
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.speaker') !== null")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".recording-close")
    box = "document.querySelector('#confirm')"
    assert page.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    assert LONG in page.inner_text("#confirm-title")
    page.click("#confirm-stay")
    with page.expect_download() as info:
        page.click("#downloads summary")
        page.click("#download-list [data-format=txt]")
    assert info.value.suggested_filename.startswith("a-very-long-name-")


def test_text_that_runs_from_right_to_left(page, behaviour, tmp_path, download):
    path = tmp_path / f"{ARABIC}.flac"
    path.write_bytes(SPEECH.read_bytes())
    upload(page, path)
    edit(page, 0, ARABIC)
    direction = "getComputedStyle(document.querySelectorAll('.segment-text')[{}]).direction"
    assert [page.evaluate(direction.format(number)) for number in (0, 1)] == ["rtl", "ltr"]
    page.dblclick(".segment-text >> nth=0")
    assert page.evaluate("getComputedStyle(document.querySelector('textarea')).direction") == "rtl"
    page.keyboard.press("Escape")
    assert page.evaluate("getComputedStyle(document.querySelector('#player-name')).direction") == "rtl"
    assert download(page, "txt", ARABIC).splitlines()[0] == ARABIC
