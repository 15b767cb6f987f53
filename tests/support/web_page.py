"""What tests do with the page."""

import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SPEECH = REPOSITORY / "samples" / "jfk.flac"


def ready(page):
    """Wait until the page has said what it keeps and what the server offers."""
    page.wait_for_selector("[data-ready=true] #model option", state="attached")
    page.wait_for_selector("#options [name]", state="attached")


def saved(page):
    """Wait until the browser has kept all that was changed."""
    until(page, "document.body.dataset.saved === 'true'")


def edit(page, segment, text):
    page.dblclick(f".segment-text >> nth={segment}")
    page.fill(".segment textarea", text)
    page.keyboard.press("Enter")


def upload(page, file=SPEECH):
    page.set_input_files("#file", file)
    wait_done(page)


def upload_what_is_none(page, folder):
    """Give the page a file that is no recording, and wait until it says so."""
    path = folder / "notes.mp3"
    path.write_text("not a recording at all" * 50)
    page.set_input_files("#file", path)
    page.wait_for_selector("#message")
    assert page.inner_text("#message-hint") == "Choose another file or other settings."


def wait_done(page):
    page.wait_for_selector("[data-state=done]")
    until(page, "!document.querySelector('#play-button').disabled")
    page.wait_for_selector("#waveform[aria-busy=false]")


def without_end(page):
    """Let the recording begin anew at its end, which a busy machine may have reached before the page is looked at."""
    page.evaluate("document.querySelector('#media').loop = true")


def says(page, selector, text, act):
    """Act, and wait until an element has had this text, be it for a moment only."""
    page.evaluate(
        """(selector) => {
            window.said = [];
            const element = document.querySelector(selector);
            const note = () => window.said.push(element.textContent);
            new MutationObserver(note).observe(element, { childList: true, subtree: true, characterData: true });
        }""",
        selector,
    )
    act()
    until(page, f"window.said.includes({text!r})")


def loud_part(page):
    """Where the waveform that is drawn begins and ends to be loud, as shares of its width."""
    until(page, "document.querySelector('#wave-canvas').width > 0")
    return page.evaluate(
        """() => new Promise((resolve) => requestAnimationFrame(() => {
            const canvas = document.querySelector('#wave-canvas');
            const { data, width } = canvas.getContext('2d').getImageData(0, 20, canvas.width, 1);
            const drawn = Array.from({ length: width }, (_, i) => data[4 * i + 3] > 128);
            resolve([drawn.indexOf(true) / width, drawn.lastIndexOf(true) / width]);
        }))"""
    )


def drawn(page):
    """Share of the waveform's pixels that are more than a tint."""
    return page.evaluate(
        """() => new Promise((resolve) => requestAnimationFrame(() => {
            const canvas = document.querySelector('#wave-canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            resolve(data.filter((value, i) => i % 4 === 3 && value > 128).length / (data.length / 4));
        }))"""
    )


def until(page, condition, seconds=60):
    """Wait for an expression of the page, or a function of the test, to be true; returns its value.

    The page's policy keeps Playwright from waiting for an expression in the page.
    """
    end = time.monotonic() + seconds
    while not (value := condition() if callable(condition) else page.evaluate(condition)):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(30)
    return value
