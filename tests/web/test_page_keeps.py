"""Nothing is lost: recordings, edits and undo live through other files, reloads, broken files and a second tab."""

import av
import numpy as np
import pytest

from tests.support.web_page import SPEECH, drawn, edit, loud_part, ready, saved, until, upload, wait_done

TEXT = "[...document.querySelectorAll('.segment-text')].map((it) => it.textContent.trim())"


def names(page):
    return page.locator(".recording-name").all_inner_texts()


def reopened(page):
    saved(page)
    page.reload()
    ready(page)
    return page


def test_a_reload_keeps_recording_edits_and_undo(done, download):
    edit(done, 0, "First.")
    edit(done, 1, "Second.")
    reopened(done)
    wait_done(done)
    assert done.evaluate(TEXT) == ["First.", "Second."]
    assert done.inner_text("#player-name") == "jfk.flac"
    done.keyboard.press("Control+z")
    assert done.evaluate(TEXT) == ["First.", "ask what you can do for your country & <others>."]
    done.keyboard.press("Control+z")
    assert done.is_disabled("#undo-button")
    done.keyboard.press("Control+Shift+Z")
    done.click("#redo-button")
    assert download(done, "txt") == "First.\nSecond.\n"
    assert done.is_disabled("#redo-button")
    assert 0.05 < drawn(done) < 0.6


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.mp3"
    path.write_bytes(b"no recording at all" * 60)
    return path


def test_another_file_and_a_broken_one_leave_the_edited_transcript(done, behaviour, broken, log):
    log.expected += ["400", "willReadFrequently"]
    edit(done, 0, "First.")
    behaviour.status, behaviour.message = 400, "file: not a recording"
    done.set_input_files("#file", broken)
    done.wait_for_selector("#message")
    assert names(done) == ["broken.mp3", "jfk.flac"]
    until(done, "document.querySelector('#player-note').textContent !== ''")
    assert done.inner_text("#player-name") == "broken.mp3"
    assert done.inner_text("#player-note") == "This browser can't play the recording."
    assert drawn(done) == 0
    assert done.evaluate(TEXT) == []
    assert "File: not a recording." in done.inner_text(".recording >> nth=0")
    behaviour.status = 200
    done.set_input_files("#file", SPEECH.parent / "README.md")
    until(done, "document.querySelectorAll('.recording[data-status=done]').length === 2")
    done.click(".recording-name >> text=jfk.flac")
    wait_done(done)
    assert done.evaluate(TEXT)[0] == "First."
    assert 0.05 < drawn(done) < 0.6


def test_several_dropped_files_are_all_transcribed(page, behaviour):
    behaviour.holds_at = 0
    drop = """async (names) => {
        const transfer = new DataTransfer();
        for (const name of names) transfer.items.add(new File([new Uint8Array(1000)], name));
        document.querySelector('#drop').dispatchEvent(new DragEvent('drop', { bubbles: true, dataTransfer: transfer }));
    }"""
    page.evaluate(drop, ["a.wav", "b.wav"])
    page.wait_for_selector("#job:not([hidden])")
    page.evaluate(drop, ["c.wav", "d.wav", "e.wav", "f.wav"])
    behaviour.holds_at = None
    until(page, "document.querySelectorAll('.recording[data-status=done]').length === 6")
    assert len(behaviour.forms) == 6
    assert sorted(names(page)) == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav"]


def test_what_was_under_way_goes_on_after_a_reload(page, behaviour):
    behaviour.delay = 3600
    page.set_input_files("#file", [SPEECH, SPEECH.parent / "README.md"])
    until(page, "document.querySelectorAll('.recording[data-status=working]').length === 2")
    behaviour.delay = 0
    reopened(page)
    until(page, "document.querySelectorAll('.recording[data-status=done]').length === 2")
    assert sorted(names(page)) == ["README.md", "jfk.flac"]


def test_a_file_is_removed_only_when_that_is_confirmed(done):
    done.click(".recording-close")
    assert "deleted from this browser" in done.inner_text("#confirm")
    done.click("#confirm-stay")
    assert names(done) == ["jfk.flac"]
    done.click(".recording-close")
    done.click("#confirm-go")
    assert names(done) == []
    assert done.is_hidden("#transcript")
    reopened(done)
    assert names(done) == []


def test_transcribing_again_is_a_step_that_can_be_undone(done, behaviour):
    edit(done, 0, "Mine.")
    done.click("#again-button")
    until(done, f"{TEXT}[0].startsWith('And so')")
    wait_done(done)
    done.click("#undo-button")
    assert done.evaluate(TEXT)[0] == "Mine."


def test_two_tabs_keep_both_transcripts(done):
    saved(done)
    other = done.context.new_page()
    other.goto(done.url)
    wait_done(other)
    edit(done, 0, "Here.")
    saved(done)
    edit(other, 0, "There.")
    other.wait_for_selector("#message")
    assert other.inner_text("#message-text") == "Another tab has changed this transcript."
    saved(other)
    texts = set()
    reopened(other)
    for number in range(2):
        other.click(f".recording-name >> nth={number}")
        wait_done(other)
        texts.add(other.evaluate(TEXT)[0])
    assert texts == {"Here.", "There."}


def test_talk_that_a_closed_page_cut_off_is_kept(page, behaviour):
    page.click("#talk-button")
    seconds = "document.querySelector('#live-time').textContent.split(':').reduce((sum, part) => 60 * sum + +part, 0)"
    until(page, "document.querySelector('#captions').textContent.includes('three')")
    heard = page.evaluate(seconds)
    until(page, f"{seconds} >= {max(heard + 4, 7)}")  # a piece is kept every 3 s
    saved(page)
    page.evaluate("addEventListener('beforeunload', (event) => event.stopImmediatePropagation(), true)")
    page.evaluate(f"addEventListener('pagehide', () => sessionStorage.setItem('heard', {seconds}))")
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    ready(page)
    page.click(".recording-name")
    wait_done(page)
    assert "Not whole" in page.inner_text(".recording")
    assert page.evaluate(TEXT)[0].startswith("one two three")
    heard = float(page.evaluate("sessionStorage.getItem('heard')"))
    assert 6 <= page.evaluate("document.querySelector('#media').duration") <= heard + 1


def test_closing_while_somebody_talks_asks(page):
    page.click("#talk-button")
    until(page, "document.querySelector('#live-state').textContent === 'Listening'")
    page.mouse.click(5, 5)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    until(page, lambda: asked == ["beforeunload"])


def test_a_browser_that_keeps_nothing_says_so(open_page, mock_address, behaviour):
    page = open_page(mock_address[0])
    page.add_init_script("Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no'); } })")
    page.reload()
    ready(page)
    assert page.inner_text("#message-text") == "This browser keeps no recordings."
    upload(page)
    edit(page, 0, "First.")
    assert page.evaluate(TEXT)[0] == "First."
    assert page.evaluate("dispatchEvent(new Event('beforeunload', { cancelable: true }))") is False  # the browser asks


def test_live_captions_never_say_a_word_twice(page):
    page.evaluate(
        """() => {
            window.seen = [];
            const box = document.querySelector('#captions');
            const look = () => window.seen.push(box.textContent);
            new MutationObserver(look).observe(box, { childList: true, subtree: true, characterData: true });
        }"""
    )
    page.click("#talk-button")
    until(page, "document.querySelector('#captions').textContent.includes('six')")
    words = " one two three four five six seven eight nine ten"
    assert [text for text in page.evaluate("window.seen") if not words.startswith(text)] == []
    page.click("#stop-button")
    page.wait_for_selector("[data-state=done]")


@pytest.fixture
def video(tmp_path):
    """4 s of picture, of which the first 2 have a tone."""
    path = tmp_path / "film.webm"
    with av.open(str(path), "w") as film:
        picture = film.add_stream("libvpx", rate=10, width=160, height=96, pix_fmt="yuv420p")
        sound = film.add_stream("libopus", rate=48000, layout="mono")
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((96, 160, 3), number * 6, np.uint8), format="rgb24")
            film.mux(picture.encode(frame))
        tone = (0.5 * np.sin(np.arange(96000) / 20)).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="flt", layout="mono")
        samples.sample_rate = 48000
        film.mux(sound.encode(samples))
        for stream in (picture, sound):
            film.mux(stream.encode(None))
    return path


def test_a_video_has_its_picture_subtitles_and_a_waveform_that_is_not_stretched(page, video, log):
    log.expected.append("willReadFrequently")
    upload(page, video)
    assert page.is_visible("#media")
    assert loud_part(page) == pytest.approx([0, 0.5], abs=0.03)
    page.click(".word >> nth=3")
    cue = (
        "(() => { const [cue] = document.querySelector('#media').textTracks[0].activeCues ?? []; return cue?.text; })()"
    )
    until(page, f"{cue} === 'And so, my fellow Americans, ask not what your country can do for you,'")
    edit(page, 0, "One & <two>.")
    until(page, f"{cue} === 'One & &lt;two>.'")
