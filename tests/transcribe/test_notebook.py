"""A result in a notebook: a player and words, with nothing of a recording's or a program's own in it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

from tests.support.fake_inference import DIMS, FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.transcribe import notebook
from whisper_max.transcribe.result import Segment, TranscriptionResult, Word

SAMPLE = Path(__file__).parents[2] / "samples" / "jfk.flac"


class Page(HTMLParser):
    """The tags of a page, each of which must be closed, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def result(text: str, words: list[Word] | None = None, **fields) -> TranscriptionResult:
    segment = Segment(0, 0, 1.5, 3.0, text, [], 0.0, 0.0, 1.0, 0.0, words)
    return TranscriptionResult(text, [segment], "en", duration=11.0, **fields)


def test_words_play_from_where_they_are_said():
    words = [Word(" Ask", 1.5, 1.8, 0.9), Word(" not", 1.8, 2.2, 0.9)]
    page = Page(result(" Ask not", words)._repr_html_())
    spans = [attributes for tag, attributes in page.tags if tag == "span"]
    assert [each["title"] for each in spans] == ["1.50 s", "1.80 s"]
    assert ["currentTime=1.80" in str(each["onclick"]) for each in spans] == [False, True]
    assert page.text == " Ask noten, 11.0 s"
    assert "audio" not in [tag for tag, _ in page.tags]
    (whole,) = [attributes for tag, attributes in Page(result(" Ask not")._repr_html_()).tags if tag == "span"]
    assert whole["title"] == "1.50 s"


def test_what_was_said_is_no_markup():
    evil = " <script>alert(1)</script> \"'&amp; </span></div>"
    page = Page(result(evil, [Word(evil, 0.0, 1.0, 1.0)])._repr_html_())
    assert {tag for tag, _ in page.tags} == {"div", "p", "span", "small"}
    assert evil in page.text


def test_a_file_is_played_and_another_source_is_not(tmp_path: Path, monkeypatch):
    model = Model(FakeInference(DIMS), synthetic_vocabulary())
    heard = model.transcribe(str(SAMPLE), language="en", sample_len=5)
    assert heard.source == SAMPLE
    (player,) = re.findall(r'src="data:audio/[\w-]+;base64,([^"]+)"', heard._repr_html_())
    assert base64.b64decode(player) == SAMPLE.read_bytes()
    with SAMPLE.open("rb") as file:
        assert model.transcribe(file, language="en", sample_len=5).source is None
    heard.source = tmp_path / "gone.wav"
    assert "<audio" not in heard._repr_html_()
    heard.source = SAMPLE
    monkeypatch.setattr(notebook, "_LARGEST", 1000)
    assert "<audio" not in heard._repr_html_()
    assert "source" not in heard.to_dict()


def test_nothing_said():
    page = Page(TranscriptionResult("", [], "", duration=2.0)._repr_html_())
    assert page.text == "nothing said, 2.0 s"
