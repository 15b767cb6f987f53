"""``align`` on the command line: what is refused before a model is loaded, and what would be overwritten."""

import pytest

from whisper_max.commands.main import main

SRT = "1\n00:00:00,000 --> 00:00:01,000\nAsk not\n"


@pytest.fixture
def audio(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF")
    return path


def refused(capsys, *args):
    status = main(["align", *map(str, args)])
    assert status in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_text_is_not_written_over(tmp_path, audio, capsys):
    text = tmp_path / "talk.srt"
    text.write_text(SRT)
    assert "the transcript would replace the text" in refused(capsys, audio, text, "-f", "srt", "-o", tmp_path)
    assert text.read_text() == SRT


@pytest.mark.parametrize(("content", "message"), [(b"", "no word in it"), (b"\xff\x80\x80", "not a text")])
def test_a_text_that_is_none(tmp_path, audio, capsys, content, message):
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    assert message in refused(capsys, audio, text, "-o", tmp_path / "out")


def test_a_text_that_is_missing(tmp_path, audio, capsys):
    assert "can't be read" in refused(capsys, audio, tmp_path / "missing.txt")


def test_several_recordings(tmp_path, audio, capsys):
    (tmp_path / "other.wav").write_bytes(b"RIFF")
    text = tmp_path / "text.txt"
    text.write_text("Ask not")
    assert "one recording at a time" in refused(capsys, tmp_path, text, "-o", tmp_path / "out")


def test_options_that_mean_nothing_here(audio, capsys):
    for option in ("--resume", "--files_at_once=2", "--channels=separate", "--task=translate"):
        with pytest.raises(SystemExit):
            main(["align", str(audio), str(audio), option])
        assert "unrecognized arguments" in capsys.readouterr().err


def test_options_of_speech_need_it(audio, capsys):
    with pytest.raises(SystemExit):
        main(["align", str(audio), str(audio), "--vad_threshold", "0.4"])
    assert "needs --vad" in capsys.readouterr().err
