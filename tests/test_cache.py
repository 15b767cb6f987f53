"""Where the cache folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from whisper_max.cache import cache_dir


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WHISPER_MAX_CACHE": "/w", "XDG_CACHE_HOME": "/x", "HOME": "/u"}, "/w"),
        ({"WHISPER_MAX_CACHE": "~/w", "HOME": "/u"}, "/u/w"),
        ({"WHISPER_MAX_CACHE": "", "XDG_CACHE_HOME": "/x", "HOME": "/u"}, "/x/whisper_max"),
        ({"WHISPER_MAX_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/u"}, "/u/.cache/whisper_max"),
    ],
)
def test_the_cache_folder(variables, expected, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)
