#!/usr/bin/env bash
# Finding: libsndfile 1.2.2 (through soundfile 0.14.0) reads floats in a Wave64 file as integers, where the file's format
# is WAVE_FORMAT_EXTENSIBLE, as FFmpeg and others write it: noise at full scale, without an error.
#
# Expected: the same samples from a wav and from a w64 file with the same format and the same bytes. The log that
# libsndfile keeps of the w64 file even says "format : IEEE float".
# Happens: the wav file is FLOAT; the w64 file is PCM_32, and the bits of its floats are heard as integers. G.711 in such a
# file is heard as 8-bit integers in the same way.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import io
import struct
import sys

import numpy as np
import soundfile

RATE, EXTENSIBLE, FLOAT = 16000, 0xFFFE, 3
REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the GUIDs of w64's chunks, behind their names

tone = (0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype("<f4")
data = tone.tobytes()
form = struct.pack("<HHIIHHHHI", EXTENSIBLE, 1, RATE, 4 * RATE, 4, 32, 22, 32, 4)
form += struct.pack("<HHHH", FLOAT, 0, 0, 0x10) + bytes.fromhex("800000aa00389b71")


def wav():
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def w64():
    def chunk(name, content):
        return name + REST + struct.pack("<Q", 24 + len(content)) + content + bytes(-len(content) % 8)

    body = b"wave" + REST + chunk(b"fmt ", form) + chunk(b"data", data)
    return b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000") + struct.pack("<Q", 24 + len(body)) + body


print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
apart = {}
for name, content in (("wav", wav()), ("w64", w64())):
    with soundfile.SoundFile(io.BytesIO(content)) as sound:
        samples = sound.read(dtype="float32")
        says_float = "IEEE float" in sound.extra_info
        apart[name] = float(np.abs(samples - tone).max())
        print(f"{name}: {sound.format} {sound.subtype}, its log says float: {says_float}, at most {apart[name]:.3f} apart")
holds = apart["wav"] == 0 and apart["w64"] > 0.3 and says_float
print("as described" if holds else "CHANGED")
sys.exit(0 if holds else 1)
PY
exit "$status"
