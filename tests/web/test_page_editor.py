"""The page as an editor: borders, splits, search, doubts, speakers, exports, links, and very long transcripts."""

import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.mock_server import spoken
from tests.support.web_page import SPEECH, edit, ready, saved, says, until, upload, wait_done
from whisper_max.output import FORMATS, render
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

TEXT = "[...document.querySelectorAll('.segment-text')].map((it) => it.textContent.trim())"


def segments(page, download):
    return json.loads(download(page, "json"))["segments"]


def times(page, download):
    return [(segment["start"], segment["end"]) for segment in segments(page, download)]


def seek(page, segment, word):
    page.click(f".segment >> nth={segment} >> .word >> nth={word}")


# ---------------------------------------------------------------- borders


def test_split_merge_and_remove_by_key(done, download):
    before = [segment.to_dict() for segment in spoken().segments]
    seek(done, 0, 6)  # "not", of "ask not what"
    done.keyboard.press("s")
    assert done.evaluate(TEXT)[:2] == ["And so, my fellow Americans, ask", "not what your country can do for you,"]
    first, second, third = segments(done, download)
    assert (first["id"], second["id"], third["id"]) == (0, 1, 2)
    assert first["words"] + second["words"] == before[0]["words"]
    assert (first["start"], first["end"]) == (0.0, before[0]["words"][5]["end"])
    assert (second["start"], second["end"]) == (before[0]["words"][6]["start"], 7.6)
    seek(done, 0, 0)
    done.keyboard.press("m")
    merged, _ = segments(done, download)
    assert {**merged, "edited": None} == {
        **{name: before[0][name] for name in ("id", "start", "end", "text", "words")},
        "edited": None,
    }
    done.keyboard.press("Delete")
    assert download(done, "txt") == "ask what you can do for your country & <others>.\n"
    for _ in range(3):
        done.keyboard.press("Control+z")
    assert segments(done, download) == before


def test_split_at_the_cursor_of_an_edit(done, download):
    done.dblclick(".segment-text >> nth=1")
    done.keyboard.press("Home")
    for _ in range(len("ask what you")):
        done.keyboard.press("ArrowRight")
    done.keyboard.press("Control+Enter")
    assert done.evaluate(TEXT)[1:] == ["ask what you", "can do for your country & <others>."]
    _, first, second = segments(done, download)
    assert first["end"] == first["words"][-1]["end"] <= second["start"] == second["words"][0]["start"]


def test_borders_move_by_key_to_a_word_or_exactly(done, download):
    words = spoken().segments[0].words
    assert words is not None
    done.evaluate(f"document.querySelector('#media').currentTime = {words[12].start + 0.06}")
    until(done, "document.querySelector('.word.now')?.textContent === 'for'")
    done.keyboard.press("o")
    assert times(done, download)[0] == (0.0, words[12].start)
    assert segments(done, download)[0]["words"][-1]["end"] == words[12].start
    done.keyboard.press("Control+z")
    done.keyboard.press("Shift+O")
    assert times(done, download)[0] == (0.0, round(words[12].start + 0.06, 2))
    seek(done, 1, 2)
    done.keyboard.press("Shift+I")
    start = segments(done, download)[1]["start"]
    assert start == spoken().segments[1].words[2].start


def drag(page, start, end, modifier=None):
    """Drag a border on the waveform, from a share of its width to another."""
    box = page.locator("#waveform").bounding_box()
    at = [(box["x"] + box["width"] * share, box["y"] + 30) for share in (start, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    if modifier:
        page.keyboard.down(modifier)
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()
    if modifier:
        page.keyboard.up(modifier)


def test_borders_are_dragged_on_the_waveform_and_snap_to_words(done, download):
    words = spoken().segments[0].words
    assert words is not None
    near = words[11].end + 0.05
    drag(done, 10.9 / 11, 10.4 / 11, "Alt")
    assert times(done, download)[1][1] == pytest.approx(10.4, abs=0.03)
    drag(done, 7.6 / 11, near / 11)
    (_, end), (start, _) = times(done, download)
    assert start == end == pytest.approx(words[11].end, abs=0.006)  # they met, and still do
    done.click("#undo-button")
    done.click("#undo-button")
    assert times(done, download) == [(0.0, 7.6), (7.6, 10.9)]


def test_borders_snap_to_silence(page):
    edges = page.evaluate(
        """async () => {
            const { silenceEdges, snap } = await import(new URL('assets/snap.js', document.baseURI));
            const peaks = new Uint8Array(300).fill(128);
            peaks.fill(1, 100, 150);
            peaks.fill(1, 200, 203); // too short to be a pause
            return [silenceEdges(peaks, 0, 3), ...[1.04, 1.2, 2].map((time) => snap(time, 0.1, [], peaks))];
        }"""
    )
    assert edges == [[1, 1.5], 1, 1.2, 2]


def test_neighbours_make_room_for_a_border(page):
    moved = page.evaluate(
        """async () => {
            const { retime } = await import(new URL('assets/edits.js', document.baseURI));
            const segments = [{ start: 0, end: 2, text: 'a' }, { start: 2, end: 4, text: 'b' }];
            const times = (list) => list.map(({ start, end }) => [start, end]);
            return [
                times(retime(segments, 0, 'end', 3, 9)), times(retime(segments, 1, 'start', 1, 9)),
                times(retime(segments, 0, 'end', 7, 9)), times(retime(segments, 1, 'end', 99, 9)),
                times(retime(segments, 1, 'start', -5, 9)), times(retime(segments, 0, 'start', 1.999, 9)),
            ];
        }"""
    )
    assert moved == [
        [[0, 3], [3, 4]],
        [[0, 1], [1, 4]],
        [[0, 3.98], [3.98, 4]],
        [[0, 2], [2, 9]],
        [[0, 0.02], [0.02, 4]],
        [[1.98, 2], [2, 4]],
    ]


def test_the_waveform_is_magnified(done):
    done.click("#zoom-in")
    done.click("#zoom-in")
    box = done.locator("#waveform").bounding_box()
    done.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 30)
    until(done, "document.querySelector('#player-time').textContent === '0:01'")  # 2.75 s are seen
    done.keyboard.press("-")
    done.keyboard.press("-")
    done.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 30)
    until(done, "document.querySelector('#player-time').textContent === '0:05'")


# ---------------------------------------------------------------- search and replace


def test_search_and_replace(done, download):
    done.keyboard.press("Control+f")
    done.fill("#search-text", "COUNTRY")
    assert done.inner_text("#search-count") == "2 found"
    assert done.locator(".word.hit").all_inner_texts() == ["country", "country"]
    done.keyboard.press("Enter")
    assert done.inner_text("#search-count") == "1 of 2"
    until(done, "document.querySelector('.word.now')?.textContent === 'country'")
    done.fill("#replace-text", "country country")
    done.click("#replace-one")
    assert done.inner_text("#search-count") == "3 of 3"  # not what has just been put there
    done.click("#replace-one")
    assert download(done, "txt").count("country country") == 2
    done.keyboard.press("Control+z")
    done.click("#undo-button")
    assert download(done, "txt") == render(spoken(), "txt")
    done.check("#search-case")
    assert done.inner_text("#search-count") == "0 found"
    done.fill("#search-text", "you")
    assert done.inner_text("#search-count") == "4 found"
    done.check("#search-words")
    assert done.inner_text("#search-count") == "2 found"
    done.fill("#replace-text", "$& <we>")
    done.click("#replace-all")
    assert done.inner_text("#search-count") == "2 replaced"
    assert "for $& <we>,\nask what $& <we> can" in download(done, "txt")
    done.click("#undo-button")
    assert download(done, "txt") == render(spoken(), "txt")
    done.fill("#search-text", "a.*[")
    assert done.inner_text("#search-count") == "0 found"
    done.keyboard.press("Escape")
    assert done.is_hidden("#search")
    assert done.locator(".hit").count() == 0


# ---------------------------------------------------------------- doubts and speakers


def test_what_may_be_wrong_is_marked_and_walked_by_key(page, behaviour, download):
    said = spoken()
    assert said.segments[0].words is not None
    said.segments[0].words[4].probability = 0.21
    behaviour.result = said
    behaviour.extra = {1: {"doubt": [{"reason": "not heard", "support": 0.2}, {"reason": "loop", "repeats": 4}]}}
    upload(page)
    assert page.locator(".word.unsure").all_inner_texts() == ["Americans,"]
    assert page.get_attribute(".word.unsure", "title") == "21 % sure"
    assert page.inner_text(".segment.doubtful .doubt") == "Doubtful: not heard; loop"
    assert segments(page, download)[1]["doubt"][1] == {"reason": "loop", "repeats": 4}
    for key, word in (("n", "Americans,"), ("n", "ask"), ("Shift+N", "Americans,")):
        page.keyboard.press(key)
        until(page, f"document.querySelector('.word.now')?.textContent === '{word}'")
    edit(page, 1, "No doubt.")
    assert page.locator(".doubtful").count() == 0


def speakers_are(page, names):
    """Wait until these are the names beside the segments."""
    shown = "JSON.stringify([...document.querySelectorAll('.speaker')].map((it) => it.innerText))"
    until(page, f"{shown} === {json.dumps(json.dumps(names, separators=(',', ':')))}")


def test_speakers_are_named_and_coloured(page, behaviour, download):
    said = spoken()
    for segment, speaker in zip(said.segments, ("Speaker 1", "Speaker 2"), strict=True):
        segment.speaker = speaker
        for word in segment.words or ():
            word.speaker = speaker
    behaviour.result = said
    upload(page)
    assert download(page, "srt") == render(said, "srt")
    colours = [
        page.evaluate(f"getComputedStyle(document.querySelectorAll('.speaker')[{number}]).color") for number in (0, 1)
    ]
    assert len(set(colours)) == 2
    page.click(".speaker >> nth=1")
    page.fill("#speaker-name", "Jack <K>")
    page.keyboard.press("Enter")
    speakers_are(page, ["Speaker 1", "Jack <K>"])
    assert "<v Jack &lt;K&gt;>" in download(page, "vtt")
    assert {word["speaker"] for word in segments(page, download)[1]["words"]} == {"Jack <K>"}
    seek(page, 0, 3)
    page.keyboard.press("2")
    speakers_are(page, ["Jack <K>", "Jack <K>"])
    page.keyboard.press("2")  # a new one
    speakers_are(page, ["Speaker 2", "Jack <K>"])
    page.keyboard.press("p")
    page.fill("#speaker-name", "")
    page.keyboard.press("Enter")
    speakers_are(page, ["Jack <K>"])
    assert "speaker" not in segments(page, download)[0]
    for _ in range(4):
        page.keyboard.press("Control+z")
    assert download(page, "srt") == render(said, "srt")


# ---------------------------------------------------------------- out


def saved_bytes(page, action):
    with page.expect_download() as info:
        action()
    return info.value.suggested_filename, Path(info.value.path()).read_bytes()


def choose(page, format):
    page.click("#downloads summary")
    page.click(f"#download-list [data-format={format}]")


def test_docx(done):
    name, content = saved_bytes(done, lambda: choose(done, "docx"))
    assert name == "jfk.docx"
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    for part in archive.namelist():
        ElementTree.fromstring(archive.read(part))
    document = ElementTree.fromstring(archive.read("word/document.xml"))
    word = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
    texts = ["".join(each.text or "" for each in paragraph.iter(f"{word}t")) for paragraph in document.iter(f"{word}p")]
    assert texts == [
        "jfk",
        *(f"{time}  {each.text.strip()}" for time, each in zip(("0:00", "0:07"), spoken().segments, strict=True)),
    ]


def test_zip_of_all_formats_and_of_all_recordings(done, tmp_path):
    _, content = saved_bytes(done, lambda: choose(done, "zip"))
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    assert set(archive.namelist()) == {f"jfk.{format}" for format in (*FORMATS, "docx")}
    assert archive.read("jfk.vtt").decode() == render(spoken(), "vtt")
    upload(done)
    name, content = saved_bytes(done, lambda: done.click("#download-all"))
    assert name == "transcripts.zip"
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {"jfk/jfk.srt", "jfk (2)/jfk.srt"} <= set(names)
    assert len(names) == 2 * (len(FORMATS) + 1)


def test_a_link_leads_to_its_moment(done):
    seek(done, 1, 2)
    says(done, "#link-label", "Copied", lambda: done.keyboard.press("l"))
    link = done.evaluate("navigator.clipboard.readText()")
    saved(done)
    upload(done, SPEECH)  # another is open
    done.goto("about:blank")
    done.goto(link)
    wait_done(done)
    until(done, "document.querySelector('.word.now')?.textContent === 'you'")
    done.goto(link.partition("#")[0] + "#recording=nothing&t=2")
    done.wait_for_selector("#message")
    assert done.inner_text("#message-text") == "The recording of this link is not in this browser."


# ---------------------------------------------------------------- in


def test_a_folder_is_queued_and_what_is_no_recording_left_out(page, behaviour, tmp_path):
    behaviour.holds_at = 1
    folder = tmp_path / "talks"
    (folder / "more").mkdir(parents=True)
    for name in ("b.flac", "a.flac", "more/c.flac", *(f"{letter}.flac" for letter in "defghi")):
        (folder / name).write_bytes(SPEECH.read_bytes())
    (folder / "notes.txt").write_text("no recording")
    page.set_input_files("#folder", folder)
    page.wait_for_selector("#message")
    assert page.inner_text("#message-text") == "1 of the files are no recordings."
    facts = "[...document.querySelectorAll('.recording-facts')].map((it) => it.textContent)"
    until(page, f"{facts}.filter((text) => text.includes('transcribed · about 0:')).length === 4")
    assert page.evaluate(f"{facts}.filter((text) => text === 'Waiting').length") == 5
    behaviour.passes = 1
    until(page, f"{facts}.filter((text) => text.startsWith('Waiting · about ')).length === 4")
    behaviour.holds_at = None
    until(page, "document.querySelectorAll('.recording[data-status=done]').length === 9")
    assert len(behaviour.forms) == 9


def test_a_busy_server_gets_the_queue_again_by_itself(page, behaviour, log):
    log.expected.append("429")
    behaviour.status, behaviour.retry_after = 429, 1
    page.set_input_files("#file", SPEECH)
    page.wait_for_selector("#message")
    until(page, "document.querySelectorAll('.recording[data-status=queued]').length === 1")
    behaviour.status = 200
    wait_done(page)
    assert page.locator(".segment").count() == 2


def test_settings_are_those_that_the_server_offers_each_with_its_line(page, behaviour):
    page.click("#more summary")
    offered = page.evaluate("[...document.querySelectorAll('#options [name]')].map((it) => it.name)")
    assert offered[:5] == ["prompt", "hotwords", "vad", "vad_threshold", "beam_size"]
    assert offered[-3:] == ["guard", "speakers", "channels"]
    form = page.evaluate("fetch('openapi.json').then((it) => it.json())")
    post = form["paths"]["/v1/audio/transcriptions"]["post"]
    fields = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for name in offered:
        help = page.get_attribute(f"#option-{name}", "aria-describedby")
        assert page.inner_text(f"#{help}") == fields[name]["description"].replace("None: ", "default: ")
    page.fill("#option-prompt", "Kennedy, 1961")
    page.select_option("#option-vad", "true")
    page.fill("#option-beam_size", "3")
    page.fill("#option-speakers", "2-4")
    page.select_option("#option-channels", "mixed")
    page.select_option("#option-guard", "drop")
    upload(page)
    sent = {name: behaviour.forms[0].get(name) for name in (*offered, "hotwords")}
    assert {name: value for name, value in sent.items() if value is not None} == {
        "prompt": ["Kennedy, 1961"],
        "vad": ["true"],
        "beam_size": ["3"],
        "speakers": ["2-4"],
        "channels": ["mixed"],
        "guard": ["drop"],
    }


# ---------------------------------------------------------------- very long transcripts


def long_result(count):
    """A word of each segment is its number."""
    made = []
    for id in range(count):
        texts = [f" {id}", *[" word"] * (3 + id % 40)]
        step = 0.9 / len(texts)
        words = [Word(text, id + i * step, id + (i + 1) * step, 0.9) for i, text in enumerate(texts)]
        made.append(Segment(id, 0, float(id), id + 0.9, "".join(texts), [1], 0.0, -0.2, 1.2, 0.1, words))
    return TranscriptionResult("".join(each.text for each in made), made, "en", duration=float(count), options={})


STEPS_UP = """async (number) => {
    const rows = [...document.querySelectorAll('.segment')];
    const row = rows.find((it) => it.querySelector('.word').textContent === number);
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const places = [row.getBoundingClientRect().top];
    for (let i = 0; i < 5; i += 1) {
        scrollBy({ top: -100, behavior: 'instant' });
        await frame();
        await frame();
        places.push(row.getBoundingClientRect().top);
    }
    return places.slice(1).map((place, i) => place - places[i]);
}"""
"""How far a row goes with each step up, while rows that were never measured come in above it."""


def test_ten_thousand_segments(page, behaviour, download):
    behaviour.result = long_result(10_000)
    page.set_input_files("#file", SPEECH.parent / "README.md")  # not playable: places are the transcript's alone
    until(page, "document.body.dataset.state === 'done'")
    assert page.inner_text("#transcript-facts").startswith("235000 words")
    made = page.evaluate(
        """async () => {
            const list = document.querySelector('#segments');
            const made = [];
            const note = (changes) => made.push(changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0));
            new MutationObserver(note).observe(list, { childList: true });
            for (let i = 0; i < 40; i += 1) {
                scrollBy(0, i % 10 === 9 ? 60_000 : 700);
                await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
            }
            return made;
        }"""
    )
    assert 0 < max(made) < 120  # rows at a time, wherever one scrolls to
    shown = page.evaluate(TEXT)
    assert 5 < len(shown) < 120
    numbers = [int(text.split()[0]) for text in shown]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    page.keyboard.press("Control+f")
    page.fill("#search-text", "9123")
    page.keyboard.press("Enter")
    found = "[...document.querySelectorAll('.segment:has(.hit)')].map((it) => it.getBoundingClientRect().top)"
    until(page, f"(([top, ...more]) => 100 < top && top < 820 && more.length === 0)({found})")
    page.keyboard.press("Escape")
    assert page.inner_text(".segment:has-text('9123')").startswith("2:32:03")
    steps = page.evaluate(STEPS_UP, "9123")
    assert steps == pytest.approx([100] * 5, abs=1)
    page.keyboard.press("e")
    page.fill(".segment textarea", "changed")
    page.keyboard.press("Enter")
    assert download(page, "txt", "README").splitlines()[9123] == "changed"
    page.keyboard.press("Control+z")
    assert download(page, "txt", "README").splitlines()[9123].startswith("9123 word")
    assert page.locator(".segment").count() < 120
    saved(page)
    page.reload()
    ready(page)
    until(page, "document.body.dataset.state === 'done' && document.querySelectorAll('.segment').length > 5")
    assert page.is_enabled("#redo-button")
