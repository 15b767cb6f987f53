"""The page's files: how much they weigh, what they name, and that they agree with the package."""

import json
import re
from pathlib import Path

from whisper_max.server.http.page import POLICY, WEB
from whisper_max.text.languages import LANGUAGES

FILES = [path for path in WEB.rglob("*") if path.is_file()]
STATIC = WEB / "static"


def test_the_page_is_light():
    assert sum(path.stat().st_size for path in FILES) < 280_000


def test_no_address_of_another_host_is_named():
    address = re.compile(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'<)]*")
    found = {found for path in FILES for found in address.findall(path.read_text())}
    assert found <= {"http://www.w3.org/2000/svg", "http://schemas.openxmlformats.org"}  # namespaces


def test_every_file_that_is_named_is_there():
    for path in FILES:
        for name in re.findall(r'["\'(](assets/[\w./-]+)', path.read_text()):
            assert (STATIC / Path(name).relative_to("assets")).is_file(), name
        for name in re.findall(r'from "(\./[\w./-]+)"', path.read_text()):
            assert (path.parent / name).is_file(), name


def test_nothing_is_inline_that_the_policy_blocks():
    page = (WEB / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script>", page) == []
    assert "unsafe" not in POLICY


def test_the_languages_are_the_package_s():
    text = (STATIC / "languages.js").read_text()
    table = text[text.index("{\n") : text.index("});") + 1]
    assert json.loads(re.sub(r"(\w+): ", r'"\1": ', table).replace(",\n}", "\n}")) == LANGUAGES
