"""Speakers who are known by their voices: who of a recording they are, and a file that keeps voices by name.

A voice is a vector of length 1, the mean of those that a speaker was heard by; two of one person point the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_max.errors import OptionError, OutputError
from whisper_max.files.atomic import whole_file
from whisper_max.model.speakers.shapes import EMBEDDING
from whisper_max.transcribe.speakers import LONGEST_NAME, is_speaker_name
from whisper_max.transcribe.turns import speaker_name

Float32 = NDArray[np.float32]
ALIKE = 0.5
"""Least cosine of two voices of one person."""
_FORMAT = "voices of whisper_max, 1"


def name_speakers(speakers: Mapping[int, Float32], known: Mapping[str, Float32]) -> dict[int, str]:
    """A name for each speaker: that of the known voice which theirs is, else ``Speaker N``, counted from 1.

    Args:
        speakers: their voices, (EMBEDDING,) each, in the order in which they appear.
        known: voices by name. Each is of one speaker at most, and no other speaker has its name.
    """
    names = _recognised(speakers, known)
    numbered = (name for name in map(speaker_name, count()) if name not in known)
    return {speaker: names.get(speaker) or next(numbered) for speaker in speakers}


def _recognised(speakers: Mapping[int, Float32], known: Mapping[str, Float32]) -> dict[int, str]:
    """The names of those who are known: the pairs that are most alike in all, but none that is too little so."""
    if not speakers or not known:
        return {}
    from scipy.optimize import linear_sum_assignment  # slow to import: not where nobody is known

    likeness = np.stack(list(speakers.values())) @ np.stack(list(known.values())).T  # (n_speakers, n_known)
    pairs = zip(*linear_sum_assignment(-np.maximum(likeness, ALIKE)), strict=True)
    ids, names = list(speakers), list(known)
    return {ids[row]: names[column] for row, column in pairs if likeness[row, column] >= ALIKE}


def read_voices(path: str | os.PathLike[str], network: str) -> dict[str, Float32]:
    """The voices of a file by name; none where there is no file yet.

    Args:
        path: of a file that ``write_voices`` wrote, in which names may have been changed since.
        network: what its voices must have been heard by.

    Raises:
        OptionError: it is something else, can't be read, or is of another network.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OptionError("can't be read", where=path, found=getattr(error, "strerror", None) or error) from error
    try:
        held = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise OptionError("no file of voices", where=path, expected="JSON", found=error) from error
    if not isinstance(held, dict) or held.get("format") != _FORMAT or not isinstance(held.get("speakers"), dict):
        raise OptionError("no file of voices", where=path, expected=f"what --speaker_file wrote ({_FORMAT!r})")
    if held.get("network") != network:
        raise OptionError("of another network", where=path, expected=network, found=held.get("network"))
    return {name: _voice(name, numbers, path) for name, numbers in held["speakers"].items()}


def _voice(name: str, numbers: object, path: str | os.PathLike[str]) -> Float32:
    if not is_speaker_name(name):
        expected = f"one line of 1 to {LONGEST_NAME} characters"
        raise OptionError("impossible name of a speaker", where=path, expected=expected, found=repr(name))
    plain = isinstance(numbers, list) and all(isinstance(each, int | float) and -1 <= each <= 1 for each in numbers)
    vector = np.array(numbers if plain else [], np.float32)
    length = float(np.linalg.norm(vector))
    if vector.shape != (EMBEDDING,) or not 0.9 < length < 1.1:
        expected = f"{EMBEDDING} numbers, of length 1"
        raise OptionError(f"the voice of {name!r} is damaged", where=path, expected=expected)
    return np.asarray(vector / length)


def write_voices(path: str | os.PathLike[str], network: str, voices: Mapping[str, Float32]) -> None:
    """Write voices by name to a file that only its owner may read; arguments as for ``read_voices``.

    Raises:
        OutputError: it can't be written.
    """
    speakers = {name: [round(float(each), 6) for each in vector] for name, vector in voices.items()}
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {vector}" for name, vector in speakers.items())
    head = f'{{"format": {json.dumps(_FORMAT)}, "network": {json.dumps(network)}, "speakers": {{\n'
    try:
        with whole_file(Path(path)) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{head}{lines}\n}}}}\n".encode())
    except OSError as error:
        raise OutputError("can't be written", where=path, found=error.strerror or error) from error
