"""Both networks with their published weights on a real voice, on others made of it, and on what is no voice."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import soxr

from tests.support.made_audio import speech
from whisper_max.audio.waveform import ArrayWaveform
from whisper_max.errors import OptionError
from whisper_max.speakers.diarize import load_networks, tell_apart
from whisper_max.speakers.online import OnlineSpeakers
from whisper_max.speakers.reference import voice_of
from whisper_max.transcribe.speakers import SpeakerCount

pytestmark = pytest.mark.slow
RATE = 16000


@pytest.fixture(autouse=True, scope="module")
def networks():
    try:
        return load_networks()
    except OptionError as error:
        pytest.skip(str(error))


def voice(pitch=1.0):
    """Eleven seconds of somebody; played faster or slower it is somebody else."""
    return soxr.resample(speech(), RATE * pitch, RATE).astype(np.float32)


def heard(*parts, count=SpeakerCount(), **options):  # noqa: B008 - a value that nobody changes
    pause = np.zeros(RATE // 2, np.float32)
    sound = np.concatenate([each for part in parts for each in (part, pause)])
    return tell_apart(ArrayWaveform(sound), count, **options)


def names(found):
    return [found.names[turn.speaker] for turn in found.turns]


def in_order(found):
    return list(dict.fromkeys(names(found)))


def music(seconds):
    """Chords that change each half second."""
    times = np.arange(int(seconds * RATE)) / RATE
    notes = 220 * 2 ** (np.array([[0, 4, 7], [5, 9, 12], [7, 11, 14], [0, 4, 7]]) / 12)
    chord = notes[(times // 0.5).astype(int) % 4]  # (n, 3)
    fade = np.minimum(1, 8 * (times % 0.5)) * np.exp(-3 * (times % 0.5))
    return np.asarray(0.2 * fade * sum(np.sin(2 * np.pi * chord[:, i] * times) for i in range(3)), np.float32)


def test_one_speaker():
    found = heard(voice(), voice())
    assert set(names(found)) == {"Speaker 1"}
    assert sum(turn.end - turn.start for turn in found.turns) > 12
    assert not found.warnings


def test_two_speakers():
    assert in_order(heard(voice(), voice(1.3), voice())) == ["Speaker 1", "Speaker 2"]


def test_two_speakers_while_they_speak():
    sound = np.concatenate([voice(), voice(1.3), voice()])
    speakers = OnlineSpeakers(SpeakerCount(), load_networks())
    seen = []
    for start in range(0, len(sound), RATE):
        speakers.push(sound[start : start + RATE])
        seen.append(len({turn.speaker for turn in speakers.turns()}))
    assert seen[10] == 1
    assert seen[18] == 2
    assert max(seen) == 2
    found, whole = speakers.turns(final=True), tell_apart(ArrayWaveform(sound), SpeakerCount()).turns
    assert [turn.speaker for turn in found] == [turn.speaker for turn in whole]
    first, second = ([(turn.start, turn.end) for turn in turns] for turns in (found, whole))
    np.testing.assert_allclose(first, second, atol=0.02)


def test_two_speakers_where_one_is_asked_for():
    assert set(names(heard(voice(), voice(1.3), count=SpeakerCount(1, 1)))) == {"Speaker 1"}


@pytest.mark.parametrize("count", [SpeakerCount(), SpeakerCount(2, 2)])
@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(0, np.float32),
        np.zeros(20 * RATE, np.float32),
        np.full(12 * RATE, 0.5, np.float32),
        np.random.default_rng(0).normal(0, 0.1, 12 * RATE).astype(np.float32),
        music(12),
        speech()[:4800],
        np.clip(speech() * 100, -1, 1)[:4800],
    ],
    ids=["nothing", "silence", "constant", "noise", "music", "0.3 s", "0.3 s, clipped"],
)
def test_what_is_no_voice_has_no_speaker_and_says_so(sound, count):
    found = tell_apart(ArrayWaveform(sound), count)
    assert found.turns == []
    assert [warning.kind for warning in found.warnings] == ["no_speakers"]


def test_more_speakers_asked_for_than_there_are():
    found = heard(voice()[: 4 * RATE], count=SpeakerCount(3, 3))
    assert set(names(found)) == {"Speaker 1"}
    assert [warning.message for warning in found.warnings] == ["found 1 speaker where 3 were asked for"]


def over_telephone(sound):
    """The same words at half the rate, quieter, with noise."""
    narrow = soxr.resample(soxr.resample(sound, RATE, 8000), 8000, RATE)
    return np.asarray(0.3 * narrow + np.random.default_rng(0).normal(0, 0.001, len(narrow)), np.float32)


def test_who_is_known_is_called_by_name_and_others_are_not(networks):
    known = {
        name: voice_of(ArrayWaveform(over_telephone(sound)), networks)
        for name, sound in (("Ann", voice(1.3)), ("Eve", voice(1.8)), ("John", voice()))
    }
    found = heard(voice(), voice(1.3), voice(0.75), known=known)
    assert in_order(found) == ["John", "Ann", "Speaker 1"]


def test_a_file_of_voices_names_people_in_another_recording(tmp_path):
    path = tmp_path / "voices.json"
    heard(over_telephone(voice(1.3)), over_telephone(voice()), speaker_file=path)
    path.write_text(path.read_text().replace("Speaker 2", "John"))
    found = heard(voice(), voice(0.75), speaker_file=path)
    assert in_order(found) == ["John", "Speaker 2"]
    assert set(json.loads(path.read_text())["speakers"]) == {"Speaker 1", "John", "Speaker 2"}


READERS = ("1688", "1998", "2033", "2414", "2609")


def test_readers_are_known_by_what_they_read_elsewhere(recordings, networks):
    """Four by one sentence each; in a conversation of other sentences each has their name, and the fifth has none."""
    read = {}
    for name in READERS:
        paths = sorted(recordings.glob(f"librispeech_test-other/{name}-*.flac"))
        read[name] = [soundfile.read(path, dtype="float32")[0] for path in paths]
    references = {name: max(sounds[:3], key=len)[: 10 * RATE] for name, sounds in read.items()}
    known = {name: voice_of(ArrayWaveform(references[name]), networks) for name in READERS[:4]}
    found = heard(*(read[name][3 + turn] for turn in range(4) for name in READERS), known=known)
    assert in_order(found) == [*READERS[:4], "Speaker 1"]
