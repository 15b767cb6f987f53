"""The transcript on the page: playing along, editing, downloads."""

import json
import random

import pytest

from tests.support.mock_server import spoken
from tests.support.web_page import edit, says, until, without_end
from whisper_max.output import FORMATS, render
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

NOW = ".word.now"


def test_words_are_marked_as_they_are_said(done):
    done.click(".word >> nth=6")
    until(done, f"document.querySelector('{NOW}')?.textContent === 'not'")
    assert done.locator(".segment[aria-current]").count() == 1
    says_pause = "document.querySelector('#play-button').getAttribute('aria-label') === 'Pause'"
    marked = f"[...document.querySelectorAll('.word')].indexOf(document.querySelector('{NOW}'))"
    without_end(done)
    done.click("#play-button")
    until(done, f"{marked} >= 8 && {says_pause}")  # "your", or one after it where the browser was busy meanwhile
    done.click("#play-button")
    done.click(".segment-time >> nth=1")
    until(done, f"document.querySelector('{NOW}')?.textContent === 'ask'")
    assert done.locator(".segment").nth(1).get_attribute("aria-current") == "true"


def test_a_click_on_the_waveform_seeks(done):
    box = done.locator("#waveform").bounding_box()
    done.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + 30)
    until(done, "document.querySelector('#player-time').textContent === '0:08'")
    assert done.get_attribute("#waveform", "aria-valuetext") == "0:08 of 0:11"


def test_a_drag_on_the_waveform_seeks_all_the_way_and_selects_no_text(done):
    box = done.locator("#waveform").bounding_box()
    middle = box["y"] + 30
    done.mouse.move(box["x"] + box["width"] * 0.5, middle)
    done.mouse.down()
    done.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=4)
    until(done, "document.querySelector('#player-time').textContent === '0:02'")
    done.mouse.move(box["x"] - 20, middle - 80, steps=4)
    until(done, "document.querySelector('#player-time').textContent === '0:00'")
    done.mouse.up()
    done.mouse.move(box["x"] + box["width"] * 0.5, middle)
    assert done.inner_text("#player-time") == "0:00"
    assert done.evaluate("String(getSelection())") == ""


@pytest.mark.parametrize("format", FORMATS)
def test_downloads_are_what_the_command_line_writes(done, download, format):
    text = download(done, format)
    if format == "json":
        assert json.loads(text) == {**spoken().to_dict(), "text": spoken().text}
    else:
        assert text == render(spoken(), format)


def test_copying(done):
    says(done, "#copy-label", "Copied", lambda: done.click("#copy-button"))
    assert done.evaluate("navigator.clipboard.readText()") == render(spoken(), "txt")


def test_edits_go_into_the_downloads_and_keep_times(done, download):
    edit(done, 0, "And so, my dear fellow Americans, ask not what my country can do for you,")
    assert done.locator(".segment-text").first.inner_text().startswith("And so, my dear fellow")
    assert (
        download(done, "txt").splitlines()[0]
        == "And so, my dear fellow Americans, ask not what my country can do for you,"
    )
    saved = json.loads(download(done, "json"))
    first, second = saved["segments"]
    before = spoken().segments
    assert second == before[1].to_dict()
    assert set(first) == {"id", "start", "end", "text", "edited", "words"}
    old = {word.word: word for word in before[0].words}
    for word in first["words"]:
        if "probability" in word:
            assert word == old[word["word"]].to_dict()
    replaced = next(word for word in first["words"] if word["word"] == " my" and "probability" not in word)
    assert (replaced["start"], replaced["end"]) == (old[" your"].start, old[" your"].end)
    assert "".join(word["word"] for word in first["words"]) == first["text"]
    starts = [word["start"] for word in first["words"]]
    assert starts == sorted(starts)


def test_edits_can_be_dropped_and_undone(done, download):
    done.dblclick(".segment-text >> nth=0")
    done.fill(".segment textarea", "nothing of the kind")
    done.keyboard.press("Escape")
    assert done.locator(".segment textarea").count() == 0
    assert download(done, "txt") == render(spoken(), "txt")
    assert done.is_hidden("#revert-button")
    edit(done, 0, "")
    assert done.locator(".segment").count() == 1
    edit(done, 0, "changed")
    assert download(done, "txt") == "changed\n"
    done.click("#revert-button")
    assert download(done, "vtt") == render(spoken(), "vtt")
    assert done.is_hidden("#revert-button")


NAMES: list[list[str | None]] = [[None], [None, "Speaker 1", " a\tb,&<> {x} -->\n"]]


def strange_results(count):
    """Transcripts of pieces that writers trip over, at times that are between milliseconds."""
    pieces = [
        " a",
        " b-->c",
        "--->",
        "&amp;",
        " <b>",
        '"q"',
        "\t",
        "\n",
        "\r\n",
        "\u2028",
        "\x85",
        "\x1c",
        " ",
        "",
        ", x",
        "é🎉",
        "\ufeff",
        " &x",
        " &é;",
    ]
    chance = random.Random(7)
    for _ in range(count):
        with_words = chance.random() < 0.6
        speakers = chance.choice(NAMES)
        segments, time = [], chance.choice([0.0, 59.9995, 3599.9995, 360_000.0])
        for id in range(chance.randrange(4)):
            words = []
            for _ in range(chance.randrange(6)):
                end = time + chance.choice([0.0005, 0.0015, 0.02, 1 / 3, 0.0125, 2.5])
                speaker = chance.choice(speakers)
                words.append(Word(chance.choice(pieces) + chance.choice(pieces), time, end, 0.5, speaker))
                time = end
            if chance.random() < 0.1:
                words *= 250  # longer than a line of a cue
            text = "".join(word.word for word in words)
            start, end = (words[0].start, words[-1].end) if words else (time, time)
            segment = Segment(id, 0, start, end, text, [1], 0.0, -0.5, 1.5, 0.25, words if with_words else None)
            segment.speaker = chance.choice(speakers)
            segments.append(segment)
        yield TranscriptionResult("".join(segment.text for segment in segments), segments, "en")


def test_every_format_of_strange_texts_equals_the_package_s(page):
    results = list(strange_results(150))
    rendered = page.evaluate(
        """async (results) => {
            const { FORMATS } = await import(new URL('assets/formats.js', document.baseURI));
            const all = (result) => Object.entries(FORMATS).map(([name, { render }]) => [name, render(result)]);
            return results.map((result) => Object.fromEntries(all(result)));
        }""",
        [result.to_dict() for result in results],
    )
    for result, texts in zip(results, rendered, strict=True):
        assert set(texts) == set(FORMATS)
        assert json.loads(texts.pop("json")) == result.to_dict()
        assert texts == {format: render(result, format) for format in texts}


def test_words_of_languages_without_spaces_keep_their_times(page):
    words = [
        {"word": "今日", "start": 0, "end": 1, "probability": 0.5},
        {"word": "は", "start": 1, "end": 2, "probability": 0.5},
    ]
    retimed = page.evaluate(
        """async (words) => {
            const { retimeWords } = await import(new URL('assets/words.js', document.baseURI));
            return retimeWords({ start: 0, end: 2, text: '今日は', words }, '今夜は');
        }""",
        words,
    )
    assert retimed == [
        {"word": "今", "start": 0, "end": 0.5, "probability": 0.5},
        {"word": "夜", "start": 0.5, "end": 1},
        {"word": "は", "start": 1, "end": 2, "probability": 0.5},
    ]
