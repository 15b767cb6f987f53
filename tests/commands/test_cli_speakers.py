"""``transcribe --speakers`` on the command line, with a file of voices; networks that hear pitches, a fake model."""

import json

import numpy as np
import pytest
import soundfile

import whisper_max
from tests.support.fake_inference import FakeInference
from tests.support.synthetic_vocabulary import synthetic_vocabulary
from tests.support.tones import Ears, tones
from whisper_max.api import Model
from whisper_max.commands.main import main
from whisper_max.speakers import diarize


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder with two recordings of three people, who come in another order in the second one."""
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        waveform = tones(*[(who, 8) for who in order * 3])
        soundfile.write(tmp_path / f"{name}.wav", waveform.read(0, waveform.n_samples), 16000)
    model = Model(FakeInference(), synthetic_vocabulary())
    monkeypatch.setattr(whisper_max, "load_model", lambda *_, **__: model, raising=False)
    monkeypatch.setattr(diarize, "load_networks", lambda report=None: Ears())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def speakers(folder, name):
    """Who speaks, by the turns in which whole segments lie."""
    segments = json.loads((folder / f"{name}.json").read_text())["segments"]
    return {segment["speaker"] for segment in segments if "speaker" in segment}


def run(*arguments):
    return main(["transcribe", "-f", "json", "--language", "en", *arguments])


@pytest.mark.parametrize("how", [[], ["--files_at_once", "2"]], ids=["one by one", "side by side"])
def test_a_file_of_voices_is_written_and_names_people_in_the_next_recording(folder, how):
    given = ["--speakers", "auto", "--speaker_file", "voices.json"]
    assert run("a.wav", *given) == 0
    voices = json.loads((folder / "voices.json").read_text())
    assert list(voices["speakers"]) == ["Speaker 1", "Speaker 2", "Speaker 3"]
    voices["speakers"] = dict(zip(("Ann", "Bo", "Cy"), voices["speakers"].values(), strict=True))
    (folder / "voices.json").write_text(json.dumps(voices))
    assert run("a.wav", "b.wav", *given, *how) == 0
    assert speakers(folder, "a") == speakers(folder, "b") == {"Ann", "Bo", "Cy"}


def test_no_file_is_written_unless_it_is_named(folder):
    assert run("a.wav", "--speakers", "auto") == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--speaker_file", "voices.json"], "speaker_file: needs speakers"),
        (["--speakers", "0"], "speakers: impossible number of speakers"),
        (["--speakers", "2", "--channels", "separate"], "speakers: can't be given together with separate channels"),
        (["--speakers", "2", "--speaker_file", "a.wav"], "a.wav: can't be read"),
    ],
)
def test_what_is_refused_before_anything_is_transcribed(folder, capsys, arguments, words):
    before = (folder / "a.wav").read_bytes()
    assert run("a.wav", *arguments) == 2
    assert words in capsys.readouterr().err
    assert (folder / "a.wav").read_bytes() == before
    assert not list(folder.glob("*.json"))


def test_what_has_no_speakers_to_tell_apart_does_not_offer_it(folder, capsys):
    arguments = ["align", "a.wav", "text.txt"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--speakers", "2"])
    assert stop.value.code == 2
    assert "--speakers" in capsys.readouterr().err


def test_silence_has_no_speaker_and_says_so(folder, capsys):
    soundfile.write(folder / "a.wav", np.zeros(16000 * 3), 16000)
    assert run("a.wav", "--speakers", "2", "--verbose", "False") == 0
    assert "no speaker is heard" in capsys.readouterr().err
