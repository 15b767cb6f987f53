"""How the page is to use: keyboard, colours, small screens, screen readers."""

import pytest

from tests.support.web_page import SPEECH, ready, until, upload, wait_done, without_end


def time(page):
    minutes, seconds = page.inner_text("#player-time").split(":")
    return int(minutes) * 60 + int(seconds)


def now(page, word):
    until(page, f"document.querySelector('.word.now')?.textContent === {word!r}")


def test_the_keyboard(done):
    done.keyboard.press("ArrowRight")
    until(done, "document.querySelector('#player-time').textContent === '0:05'")
    done.keyboard.press("ArrowLeft")
    now(done, "And")
    done.keyboard.press("Shift+ArrowRight")
    now(done, "so,")
    done.keyboard.press("Shift+ArrowDown")
    now(done, "ask")
    assert time(done) == 7
    done.keyboard.press("Shift+ArrowUp")
    now(done, "And")
    without_end(done)
    done.keyboard.press("Space")
    until(done, "document.querySelector('#play-button').getAttribute('aria-label') === 'Pause'")
    done.keyboard.press("Space")
    until(done, "document.querySelector('#play-button').getAttribute('aria-label') === 'Play'")
    done.evaluate("document.querySelector('#media').currentTime = 0")  # however far it went
    now(done, "And")
    done.keyboard.press("e")
    done.keyboard.press("Home")
    done.keyboard.type("Well. ")
    assert time(done) == 0  # keys went into the text
    done.keyboard.press("Enter")
    assert "Well. And so" in done.inner_text(".segment-text >> nth=0")
    assert done.evaluate("document.activeElement.className") == "segment-time clock"
    done.keyboard.press("?")
    assert done.is_visible("#help")
    done.keyboard.press("Escape")
    assert done.is_hidden("#help")


def test_escape_cancels(page, behaviour):
    behaviour.holds_at = 0
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#job:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-state=done]")
    assert page.is_hidden("#message")


def test_tab_order_and_focus(done):
    done.evaluate("document.activeElement.blur()")
    seen = []
    for _ in range(32):
        done.keyboard.press("Tab")
        seen.append(
            done.evaluate(
                """() => {
                    const { id, className, tagName, hash } = document.activeElement;
                    const outline = getComputedStyle(document.activeElement);
                    return [id || hash || className || tagName, outline.outlineStyle, parseFloat(outline.outlineWidth)];
                }"""
            )
        )
        if seen[-1][0] == "BODY":
            seen.pop()
            break
    assert [name for name, *_ in seen][:26] == [
        "#main", "help-button", "theme-button", "model", "language", "task", "SUMMARY",
        "choose-button", "folder-button", "talk-button",
        "download-all", "recordings", "recording-name", "icon-button recording-close",
        "play-button", "zoom-out", "zoom-in", "speed", "waveform",
        "search-button", "again-button", "link-button", "copy-button", "button primary",
        "segment-time clock", "icon-button edit-button",
    ]  # fmt: skip
    assert {(style, width >= 2) for _, style, width in seen} == {("solid", True)}


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_mode(open_page, mock_address, behaviour):
    light, dark = "rgb(245, 246, 244)", "rgb(16, 20, 19)"
    page = open_page(mock_address[0], dark=True)
    assert background(page) == dark
    assert page.get_attribute("#theme-button", "aria-pressed") == "true"
    page.click("#theme-button")
    assert background(page) == light
    page.reload()
    assert background(page) == light
    page.click("#theme-button")
    assert background(page) == dark
    assert background(open_page(mock_address[0])) == light


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(open_page, mock_address, behaviour, log, dark):
    from axe_playwright_python.sync_playwright import Axe

    log.expected.append("401")
    page = open_page(mock_address[0], dark=dark)
    ready(page)
    states = {}

    def check(state):
        once = "document.getAnimations().filter((it) => it.effect.getTiming().iterations === 1)"
        page.evaluate(f"Promise.allSettled({once}.map((it) => it.finished))")  # some are cut short
        found = Axe().run(page).response["violations"]
        states[state] = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]

    check("idle")
    upload(page)
    page.click(".word >> nth=6")
    page.click("#downloads summary")
    check("done")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    check("editing")
    page.keyboard.press("Escape")
    behaviour.delay = 3600.0
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#job")
    check("working")
    page.click("#cancel-button")
    behaviour.delay = 0.0
    behaviour.key = "k"
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    check("error")
    page.keyboard.press("?")
    check("keys")
    page.keyboard.press("Escape")
    page.click(".recording-close >> nth=0")
    check("question")
    page.click("#confirm-stay")
    page.click(".recording-name >> nth=-1")
    wait_done(page)
    page.click("#more summary")
    page.keyboard.press("p")
    check("speaker")
    page.fill("#speaker-name", "Jack")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+f")
    page.fill("#search-text", "you")
    check("searching")
    page.keyboard.press("Escape")
    behaviour.key = None
    page.click("#talk-button")
    until(page, "document.querySelector('#captions').textContent.includes('one')")
    check("live")
    page.click("#stop-button")
    assert states == {state: [] for state in states}


@pytest.mark.parametrize("width", [320, 375, 768])
def test_small_screens_need_no_sideways_scrolling(open_page, mock_address, behaviour, width):
    page = open_page(mock_address[0], width=width, height=800)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    upload(page)
    page.click("#more summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#segments").scroll_into_view_if_needed()  # rows far below what is in sight are not drawn
    page.click(".word >> nth=3")
    page.keyboard.press("1")
    page.keyboard.press("Control+f")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#downloads summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#download-list").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width


def test_a_wide_screen_has_the_list_of_recordings_beside_all_of_the_page(open_page, mock_address, behaviour):
    page = open_page(mock_address[0], width=1280, height=900)
    ready(page)
    page.set_input_files("#file", [{"name": f"{n}.wav", "mimeType": "audio/wav", "buffer": b"x"} for n in range(8)])
    until(page, "document.querySelectorAll('.recording[data-status=done]').length === 8")
    list_, last = (page.locator(each).bounding_box() for each in ("#recordings", ".recording >> nth=-1"))
    assert last["y"] + last["height"] <= list_["y"] + list_["height"] + 1
