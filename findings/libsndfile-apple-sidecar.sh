#!/usr/bin/env bash
# Finding: libsndfile 1.2.2 (through soundfile 0.14.0) refuses a valid mp3 when a file "._NAME" lies beside it.
#
# macOS leaves such a file (AppleDouble: Finder data and an empty resource fork) for each file that it copies to a FAT,
# exFAT or network drive, or packs into an archive.
# Expected: NAME.mp3 is read, whatever lies beside it.
# Happens: an mp3 without an ID3v2 tag is refused: it looks as if libsndfile took any file with a resource fork, and of no
# format that it has recognised so far, for Sound Designer II before it looks for mp3. An mp3 with a tag, WAV, FLAC and
# Vorbis are read. A file object has no name, and then libsndfile looks for "._" in the CURRENT DIRECTORY: an empty file
# of that name makes every such mp3 in memory be refused while the process is there.
# The message is "bad resource fork" or "bad data offset", of a file that the caller never named.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check soundfile==0.14.0 numpy==2.4.6
mkdir "$folder/sounds"
cd "$folder/sounds"
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import io
import struct
import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def apple_double():
    """Finder data and a resource fork without resources, as macOS writes them (RFC 1740, appendix B)."""
    fork = struct.pack(">4I", 256, 256, 0, 30) + bytes(240)  # where data and map begin, their lengths
    fork += struct.pack(">4I", 256, 256, 0, 30) + bytes(8) + struct.pack(">3H", 28, 30, 0xFFFF)
    finder_at = 26 + 2 * 12
    header = struct.pack(">II16sH", 0x00051607, 0x00020000, b"Mac OS X        ", 2)
    entries = struct.pack(">6I", 9, finder_at, 32, 2, finder_at + 32, len(fork))
    return header + entries + bytes(32) + fork


def attempt(source):
    try:
        return f"{len(soundfile.read(source)[0])} samples"
    except soundfile.LibsndfileError as error:
        return f"refused: {error.error_string}"


print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
kinds = {"plain.mp3": "MP3", "tagged.mp3": "MP3", "sound.wav": "WAV", "sound.flac": "FLAC", "sound.ogg": "OGG"}
title = b"TIT2" + struct.pack(">IHB", 8, 0, 3) + b"A title"  # https://id3.org/id3v2.4.0-structure
tag = struct.pack(">3sBBB4B", b"ID3", 4, 0, 0, 0, 0, 0, len(title)) + title
for name, container in kinds.items():
    soundfile.write(name, tone, RATE, format=container)
Path("tagged.mp3").write_bytes(tag + Path("plain.mp3").read_bytes())

holds = []


def read_all(case, refused):
    for name in kinds:
        named, unnamed = attempt(name), attempt(io.BytesIO(Path(name).read_bytes()))
        print(f"{case:32} {name:11} by name: {named:28} from memory: {unnamed}")
        for way, result in (("name", named), ("memory", unnamed)):
            holds.append(result.startswith("refused") == ((name, way) in refused))


read_all("nothing beside them", set())
for name in kinds:
    Path(f"._{name}").write_bytes(apple_double())
read_all("with AppleDouble files", {("plain.mp3", "name")})
for name in kinds:
    Path(f"._{name}").unlink()
Path("._").touch()
read_all('with an empty "._"', {("plain.mp3", "memory")})
print("as described" if all(holds) else "CHANGED")
sys.exit(0 if all(holds) else 1)
PY
exit "$status"
