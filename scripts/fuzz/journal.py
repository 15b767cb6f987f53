"""Journals of runs, whole or cut off, that are damaged or forged; see ``Kind``."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from scripts.fuzz.kinds import Attempt, Kind
from scripts.fuzz.mutate import changed, changed_json
from scripts.fuzz.verdicts import ACCEPTED, FAULT, Verdict, refused
from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from whisper_max.api import Model
from whisper_max.audio.waveform import SAMPLE_RATE
from whisper_max.errors import JournalError

_SECONDS = 70
_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"initial_prompt": "Names.", "logprob_threshold": -0.5},
    "words": {"word_timestamps": True, "temperature": (0.0, 0.4), "best_of": 2},
    "clips": {"clip_timestamps": "5,40,50", "language": "en", "temperature": 0.0},
}
_CHECKSUM = b', "crc32"'


def _model() -> Model:
    return Model(FakeInference(), synthetic_vocabulary())


def _noise() -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(1).standard_normal(SAMPLE_RATE * _SECONDS) * 0.1).astype(np.float32)


def seeds() -> dict[str, dict[str, bytes]]:
    """The journal of a whole run with each set of options, and of one that was cut off."""
    model, noise, found = _model(), _noise(), {}
    with tempfile.TemporaryDirectory() as name:
        for options in _OPTIONS:
            path = Path(name) / f"{options}.jsonl"
            model.transcribe(noise, journal=path, **_OPTIONS[options])
            content = path.read_bytes()
            found[options] = {path.name: content}
            found[f"{options}-cut"] = {path.name: content[: content.rindex(b"\n", 0, -1) + 1]}
    return found


def change(name: str, content: bytes, random: Random) -> bytes:
    """Changed bytes or, more often, another value in a line, with the checksums that it should have then."""
    if random.random() < 0.2:
        return changed(content, random)
    lines = [line[: line.rindex(_CHECKSUM)] for line in content.splitlines(keepends=True)]
    at = random.randrange(len(lines))
    what = random.random()
    if what < 0.1:
        del lines[at]
    elif what < 0.2:
        lines.insert(at, random.choice(lines))
    else:
        edited = changed_json(lines[at] + b"}", random)
        lines[at] = edited[: edited.rindex(b"}")] if b"}" in edited else edited
    checksum, whole = 0, []
    for text in lines:
        checksum = zlib.crc32(text, checksum)
        whole.append(text + _CHECKSUM + b': "%08x"}\n' % checksum)
    return b"".join(whole)


@contextmanager
def opened() -> Iterator[Attempt]:
    """A model that goes on from journals."""
    model, noise = _model(), _noise()

    def attempt(folder: Path) -> Verdict:
        path = next(folder.glob("*.jsonl"))
        try:
            result = model.transcribe(noise, journal=path, resume=True, **_OPTIONS[path.stem])
        except JournalError as error:
            return refused(error)
        try:
            json.dumps(result.to_dict(), allow_nan=False)
        except ValueError as error:
            return Verdict(FAULT, f"a result that is no JSON: {error}")
        return Verdict(ACCEPTED, f"{len(result.segments)} segments")

    yield attempt


KIND = Kind(seeds, change, opened)
