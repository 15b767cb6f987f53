"""Recordings of tones, one a speaker, heard by networks that tell them apart by their pitch."""

from __future__ import annotations

import pytest

from tests.support.tones import Ears, tones
from whisper_max.errors import OptionError, OutputError
from whisper_max.speakers import diarize as module
from whisper_max.speakers.diarize import TOGETHER, check_speakers, diarize, tell_apart
from whisper_max.speakers.known import read_voices
from whisper_max.speakers.reference import voice_of
from whisper_max.transcribe.speakers import SpeakerCount


def found_in(waveform, least=1, most=None):
    result = diarize(waveform, SpeakerCount(least, most), Ears())
    return [(round(turn.start, 1), round(turn.end, 1), turn.speaker) for turn in result.turns], result.warnings


def test_turns_of_a_conversation():
    turns, warnings = found_in(tones((0, 4), (None, 1), (1, 5), (2, 6), (0, 8), (None, 2), (1, 4)))
    (a, b, c, again, last) = turns
    assert [turn[:2] for turn in turns] == [(0.0, 4.0), (5.0, 10.0), (10.0, 16.0), (16.0, 24.0), (26.0, 30.0)]
    assert again[2] == a[2]
    assert last[2] == b[2]
    assert len({a[2], b[2], c[2]}) == 3
    assert not warnings


def test_one_speaker():
    turns, warnings = found_in(tones((0, 12)))
    assert turns == [(0.0, 12.0, 0)]
    assert not warnings


@pytest.mark.parametrize("seconds", [0, 0.01, 0.3, 11])
def test_silence_has_no_turns_and_says_so(seconds):
    turns, (warning,) = found_in(tones((None, seconds)))
    assert turns == []
    assert warning.kind == "no_speakers"


def test_a_moment_of_speech_is_too_little_to_know_a_voice_by():
    turns, (warning,) = found_in(tones((0, 0.3)))
    assert turns == []
    assert "half a second" in warning.message


def test_more_speakers_asked_for_than_there_are():
    turns, (warning,) = found_in(tones((0, 3), (None, 1), (1, 3)), 4, 4)
    assert len({speaker for *_, speaker in turns}) == 2
    assert warning.message == "found 2 speakers where 4 were asked for"


def test_windows_and_voices_are_heard_together_and_progress_is_told():
    ears, told = Ears(), []
    waveform = tones(*[(number % 2, 6) for number in range(20)])
    result = diarize(waveform, SpeakerCount(), ears, lambda done, total: told.append((done, total)))
    assert max(ears.batches) <= TOGETHER
    assert sum(ears.batches) == 24
    assert told[-1] == (120.0, 120.0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({turn.speaker for turn in result.turns}) == 2


@pytest.fixture
def ears(monkeypatch):
    monkeypatch.setattr(module, "load_networks", Ears)


def names_in(waveform, **known):
    found = tell_apart(waveform, SpeakerCount(), **known)
    return [found.names[turn.speaker] for turn in found.turns]


def test_who_is_known_by_a_recording_is_called_by_name(ears):
    known = {"Bo": voice_of(tones((1, 3)), Ears()), "Cy": voice_of(tones((None, 1), (2, 4), (None, 3)), Ears())}
    assert names_in(tones((0, 4), (None, 1), (1, 5), (0, 3)), known=known) == ["Speaker 1", "Bo", "Speaker 1"]


@pytest.mark.parametrize("turns", [[(None, 3)], [(0, 0.3), (None, 2)]])
def test_a_reference_in_which_nobody_speaks(turns):
    assert voice_of(tones(*turns), Ears()) is None


def test_a_speaker_file_names_the_same_people_in_another_recording(ears, tmp_path):
    path = tmp_path / "voices.json"
    assert names_in(tones((0, 4), (1, 4)), speaker_file=path) == ["Speaker 1", "Speaker 2"]
    path.write_text(path.read_text().replace("Speaker 2", "Bo"))
    assert names_in(tones((1, 4), (2, 4), (0, 4)), speaker_file=path) == ["Bo", "Speaker 2", "Speaker 1"]
    assert sorted(read_voices(path, "ears")) == ["Bo", "Speaker 1", "Speaker 2"]
    before = path.read_bytes()
    names_in(tones((2, 4)), speaker_file=path)
    assert path.read_bytes() == before


def test_no_voice_is_written_unless_asked_for(ears, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names_in(tones((0, 4), (1, 4)))
    check_speakers(None)
    check_speakers(tmp_path / "voices.json")
    names_in(tones((None, 2)), speaker_file=tmp_path / "voices.json")
    assert not list(tmp_path.iterdir())


def test_a_speaker_file_is_tried_before_anything_takes_long(ears, tmp_path):
    (tmp_path / "voices.json").write_text("{}")
    with pytest.raises(OptionError, match="no file of voices"):
        check_speakers(tmp_path / "voices.json")
    (tmp_path / "file").touch()
    with pytest.raises((OptionError, OutputError), match=r"can't be (read|written)"):
        check_speakers(tmp_path / "file" / "voices.json")
