"""What tests do with the page."""

import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SPEECH = REPOSITORY / "samples" / "jfk.flac"


def ready(page):
    page.wait_for_selector("[data-ready=true] #model option", state="attached")


def saved(page):
    """Wait until the browser has kept all that was changed."""
    page.wait_for_timeout(400)
    until(page, "document.body.dataset.saved === 'true'")


def edit(page, segment, text):
    page.dblclick(f".segment-text >> nth={segment}")
    page.fill(".segment textarea", text)
    page.keyboard.press("Enter")


def upload(page, file=SPEECH):
    page.set_input_files("#file", file)
    wait_done(page)


def wait_done(page):
    page.wait_for_selector("[data-state=done]")
    until(page, "!document.querySelector('#play-button').disabled")


def until(page, expression, seconds=15):
    """Wait for an expression to be true; the page's policy keeps Playwright from waiting for it in the page."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(30)
