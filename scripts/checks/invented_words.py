"""How many words are written that nobody said, and how many true ones the guard takes out.

Recordings without speech, those of a manifest whose ``speech`` is ``none`` and ``--hours`` that ``no_speech.py`` makes,
and recordings with transcripts, each transcribed plainly, with voice activity detection, and with the guard that drops;
and by faster-whisper with its detection and ``hallucination_silence_threshold``, where ``--peer`` names an interpreter
that has it and ``--peer_model`` a folder of the same weights.

    python scripts/checks/invented_words.py ../shared/audio/manifest.jsonl --model base --hours 2 --out guard.jsonl
    python scripts/checks/invented_words.py ../shared/audio/manifest.jsonl --out guard.jsonl --hours 0 --seconds 0

One line of JSON a recording and way; those that the file has are not done again, so the second call only shows the
table. Recordings are in two halves by their names, each with figures of its own. Times are of the processor, by one
thread, so that other programs change them little. Needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from no_speech import KINDS, RATE
from numpy.typing import NDArray

import whisper_max
from whisper_max.audio.io import load_audio
from whisper_max.measure.evaluate import Normaliser, count_errors

PIECE = 60  # seconds of a made recording
LANGUAGES = ("en", "de", "fr", "es", None)  # that made recordings are transcribed in; None detects one
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"guard": "off"},
    "vad": {"guard": "off", "vad": True},
    "guard": {"guard": "drop"},
}
PEER = "faster-whisper"

CHILD = """
import json, sys, time
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1)
for line in sys.stdin:
    path, language = json.loads(line)
    start = time.process_time()
    segments, info = model.transcribe(
        path, language=language, beam_size=1, vad_filter=True, word_timestamps=True, hallucination_silence_threshold=2.0
    )
    text = "".join(segment.text for segment in segments)
    print(json.dumps([text, info.language, time.process_time() - start]), flush=True)
"""


@dataclass(frozen=True)
class Recording:
    """name: its identity. transcript: None where nobody speaks."""

    name: str
    samples: NDArray[np.float32]
    language: str | None
    transcript: str | None

    @property
    def half(self) -> int:
        return zlib.crc32(self.name.encode()) % 2


def recordings(manifest: Path, hours: float, *, english: bool) -> Iterator[Recording]:
    """Those without speech first."""
    n_made = round(hours * 3600 / PIECE)
    for number in range(n_made):
        kind = list(KINDS)[number % len(KINDS)]
        samples = KINDS[kind](PIECE * RATE, np.random.default_rng(number)).astype(np.float32)
        language = "en" if english else LANGUAGES[number // len(KINDS) % len(LANGUAGES)]
        yield Recording(f"{kind} {number}", samples, language, None)
    entries = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for entry in sorted(entries, key=lambda each: each["speech"] != "none"):
        language = entry.get("language")
        is_silent = entry["speech"] == "none"
        if (english and not is_silent and language != "en") or (not is_silent and not entry.get("transcript")):
            continue
        code = "en" if english else None if language == "mul" else language
        samples = load_audio(manifest.parent / entry["path"])
        yield Recording(entry["path"], samples, code, None if is_silent else entry["transcript"])


class Peer:
    """faster-whisper in an environment of its own."""

    def __init__(self, interpreter: str, model: str) -> None:
        self._process = subprocess.Popen(
            [interpreter, "-c", CHILD, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def transcribe(self, recording: Recording) -> tuple[str, str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            soundfile.write(file.name, recording.samples, RATE, subtype="FLOAT")
            self._process.stdin.write(json.dumps([file.name, recording.language]) + "\n")
            self._process.stdin.flush()
            text, language, seconds = json.loads(self._process.stdout.readline())
        return text, language, seconds


def ours(model: whisper_max.api.Model, recording: Recording, options: dict[str, Any]) -> tuple[str, str, float]:
    """Text, language and seconds of the processor."""
    start = time.process_time()
    result = model.transcribe(recording.samples, language=recording.language, **options)
    return result.text, result.language, time.process_time() - start


def row_of(
    recording: Recording, way: str, text: str, language: str, seconds: float, normalise: Normaliser
) -> dict[str, Any]:
    code = recording.language or language or "en"
    row: dict[str, Any] = {
        "name": recording.name,
        "half": recording.half,
        "way": way,
        "audio": round(len(recording.samples) / RATE, 2),
        "seconds": round(seconds, 2),
        "text": text,
    }
    if recording.transcript is None:
        return row | {"words": len(normalise(text, code).split())}
    errors, _ = count_errors(normalise(recording.transcript, code), normalise(text, code), code)
    hits = errors.n_reference - errors.substitutions - errors.deletions
    return row | {"n_reference": errors.n_reference, "hits": hits, "inserted": errors.insertions}


def table(rows: list[dict[str, Any]]) -> str:
    """Words an hour where nobody speaks; true words lost and time of what is said, against the plain way."""
    lines = ["| half | way | invented words an hour | true words lost | words inserted into speech | time |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for half in (0, 1, None):
        chosen = [row for row in rows if half is None or row["half"] == half]
        plain = {row["name"]: row for row in chosen if row["way"] == "plain" and "hits" in row}
        for way in dict.fromkeys(row["way"] for row in rows):
            silent = [row for row in chosen if row["way"] == way and "words" in row]
            said = [row for row in chosen if row["way"] == way and row["name"] in plain and "hits" in row]
            hours = sum(row["audio"] for row in silent) / 3600
            words = sum(row["words"] for row in silent)
            lost = sum(max(0, plain[row["name"]]["hits"] - row["hits"]) for row in said)
            true = sum(plain[row["name"]]["hits"] for row in said)
            before = sum(plain[row["name"]]["seconds"] for row in said)
            cells = (
                "both" if half is None else str(half),
                way,
                f"{words / max(hours, 1e-9):.1f} ({words} in {hours:.2f} h)",
                f"{lost} of {true} ({100 * lost / max(true, 1):.2f} %)",
                str(sum(row["inserted"] for row in said)),
                f"{sum(row['seconds'] for row in said) / max(before, 1e-9):.3f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--compute_type", default="int8")
    parser.add_argument("--hours", type=float, default=2.0, help="of made recordings")
    parser.add_argument("--seconds", type=float, default=1e9, help="no recording is begun after them")
    parser.add_argument("--ways", nargs="+", default=[*WAYS], choices=[*WAYS, PEER])
    parser.add_argument("--peer", default=None, metavar="PYTHON")
    parser.add_argument("--peer_model", default=None, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["name"], row["way"]) for row in rows}
    began = time.monotonic()
    model = peer = None
    normalise = Normaliser()
    for recording in recordings(args.manifest, args.hours, english=args.model.endswith(".en")):
        for way in args.ways:
            if (recording.name, way) in done or time.monotonic() - began > args.seconds:
                continue
            if way == PEER:
                peer = peer or Peer(args.peer or sys.executable, args.peer_model or args.model)
                found = peer.transcribe(recording)
            else:
                model = model or whisper_max.load_model(
                    args.model, device="cpu", compute_type=args.compute_type, threads=1, progress=print
                )
                found = ours(model, recording, WAYS[way])
            rows.append(row_of(recording, way, *found, normalise))
            with args.out.open("a") as file:
                file.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
            print(recording.name, way, rows[-1].get("words", rows[-1].get("hits")), rows[-1]["seconds"], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
