"""Speakers who are known by their voices: who they are, and the file that keeps them."""

from __future__ import annotations

import json
import stat

import numpy as np
import pytest

from whisper_max.errors import OptionError, OutputError
from whisper_max.model.speakers.shapes import EMBEDDING
from whisper_max.speakers.known import ALIKE, name_speakers, read_voices, write_voices


def voice(at, *, towards=None, cosine=0.0):
    """A direction of its own, or one that is so much like another."""
    vector = np.eye(EMBEDDING, dtype=np.float32)[at]
    return vector if towards is None else np.float32(cosine) * towards + np.float32((1 - cosine**2) ** 0.5) * vector


ANN, BOB = voice(0), voice(1)


def test_nobody_is_known():
    assert name_speakers({3: voice(5), 0: voice(6)}, {}) == {3: "Speaker 1", 0: "Speaker 2"}
    assert name_speakers({}, {"Ann": ANN}) == {}


def test_who_is_known_has_their_name_and_the_others_a_number():
    speakers = {0: voice(9), 1: voice(7, towards=BOB, cosine=0.8), 2: voice(8)}
    assert name_speakers(speakers, {"Ann": ANN, "Bob": BOB}) == {0: "Speaker 1", 1: "Bob", 2: "Speaker 2"}


@pytest.mark.parametrize(("cosine", "name"), [(ALIKE + 0.01, "Ann"), (ALIKE - 0.01, "Speaker 1")])
def test_a_voice_must_be_alike_enough(cosine, name):
    assert name_speakers({0: voice(4, towards=ANN, cosine=cosine)}, {"Ann": ANN}) == {0: name}


def test_one_known_voice_is_one_speaker_the_likeliest():
    speakers = {0: voice(4, towards=ANN, cosine=0.7), 1: voice(5, towards=ANN, cosine=0.9)}
    assert name_speakers(speakers, {"Ann": ANN}) == {0: "Speaker 1", 1: "Ann"}


def test_a_pair_that_is_too_little_alike_takes_nobody_from_one_that_is():
    """The sum over all pairs would be larger the other way round."""
    both = voice(4, towards=ANN, cosine=0.6)
    speakers = {0: both, 1: voice(5, towards=ANN, cosine=0.55)}
    known = {"Ann": ANN, "Bob": voice(6, towards=both, cosine=0.49)}
    assert name_speakers(speakers, known) == {0: "Ann", 1: "Speaker 1"}


def test_numbers_that_are_names_of_known_voices_are_passed_over():
    names = name_speakers({0: voice(9), 1: ANN, 2: voice(8)}, {"Speaker 1": ANN, "Speaker 3": BOB})
    assert names == {0: "Speaker 2", 1: "Speaker 1", 2: "Speaker 4"}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "voices.json"
    assert read_voices(path, "net") == {}
    write_voices(path, "net", {"Ann": ANN, 'Ö "quoted"': BOB})
    found = read_voices(path, "net")
    assert list(found) == ["Ann", 'Ö "quoted"']
    np.testing.assert_allclose(found["Ann"], ANN, atol=1e-6)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_may_be_changed_by_hand(tmp_path):
    path = tmp_path / "voices.json"
    write_voices(path, "net", {"Speaker 1": ANN})
    path.write_text(path.read_text().replace("Speaker 1", "Ann"))
    assert list(read_voices(path, "net")) == ["Ann"]


GOOD = {"format": "voices of whisper_max, 1", "network": "net", "speakers": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no file of voices"),
        ("[" * 100000, "no file of voices"),
        ("[]", "no file of voices"),
        (json.dumps({**GOOD, "format": "other"}), "no file of voices"),
        (json.dumps({**GOOD, "speakers": []}), "no file of voices"),
        (json.dumps({**GOOD, "network": "other"}), "of another network: expected net, found other"),
        (json.dumps({**GOOD, "speakers": {"a\nb": [1.0] * EMBEDDING}}), "impossible name"),
        (json.dumps({**GOOD, "speakers": {"": [1.0] * EMBEDDING}}), "impossible name"),
        (json.dumps({**GOOD, "speakers": {"Ann": [1.0]}}), "damaged: expected 192 numbers"),
        (json.dumps({**GOOD, "speakers": {"Ann": ["a"] * EMBEDDING}}), "damaged"),
        (json.dumps({**GOOD, "speakers": {"Ann": [0.0] * EMBEDDING}}), "damaged"),
        (json.dumps({**GOOD, "speakers": {"Ann": [float("nan")] * EMBEDDING}}), "damaged"),
        (json.dumps({**GOOD, "speakers": {"Ann": [1e300] * EMBEDDING}}), "damaged"),
        (json.dumps({**GOOD, "speakers": {"Ann": [10**400] * EMBEDDING}}), "damaged"),
    ],
)
def test_another_file(tmp_path, content, message):
    path = tmp_path / "voices.json"
    path.write_text(content)
    with pytest.raises(OptionError, match=message):
        read_voices(path, "net")


def test_a_file_that_can_not_be_read_or_written(tmp_path):
    with pytest.raises(OptionError, match="can't be read"):
        read_voices(tmp_path, "net")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        write_voices(tmp_path / "file" / "voices.json", "net", {"Ann": ANN})
