#!/usr/bin/env bash
# Finding: soundfile 0.14.0 (libsndfile 1.2.2 with libmpg123) decodes a variable-bit-rate mp3 wrongly when it is read in blocks.
#
# Expected: reading a file block by block, with SoundFile.read(n) or soundfile.blocks, gives the samples of one whole read.
# Happens: more than a quarter of the samples are wrong at blocks of a quarter of a second, by as much as full scale, and
# nothing is raised (libmpg123 writes "part2_3_length ... too large for available bit count" to stderr, which reads as
# though the file were damaged). After each read of a seekable file soundfile seeks to where it already is
# (SoundFile._cdata_io); libsndfile hands that to libmpg123, which drops the bit reservoir, so the frames at each block's
# start lack bits that earlier frames hold. An mp3 of a constant and ample bit rate barely uses the reservoir and shows nothing.
# Way round: a subclass of SoundFile whose seekable() is False; it is then exact.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check soundfile==0.14.0 numpy==2.4.6
cd "$folder"  # away from any "._", which would keep libsndfile from reading the mp3
"$folder/venv/bin/python" - 2>"$folder/stderr" <<'PY' && status=0 || status=$?
import io
import sys

import numpy as np
import soundfile

RATE, BLOCK = 16000, 4000

random, time = np.random.default_rng(0), np.arange(RATE * 20) / RATE
tone = 0.3 * np.sin(2 * np.pi * 200 * time + 20 * np.sin(2 * np.pi * 0.7 * time))
bursts = 0.3 * random.standard_normal(time.size) * (np.sin(2 * np.pi * 1.3 * time) > 0.3)
sound = np.clip(tone + bursts, -0.95, 0.95)


class WithoutSeeking(soundfile.SoundFile):
    def seekable(self):
        return False


def encode(mode):
    file = io.BytesIO()
    how = {"format": "MP3", "bitrate_mode": mode, "compression_level": 0.5}
    with soundfile.SoundFile(file, "w", RATE, 1, **how) as writer:
        writer.write(sound)
    return file.getvalue()


def in_blocks(kind, data):
    blocks = []
    with kind(io.BytesIO(data)) as file:
        while len(block := file.read(BLOCK, dtype="float32")):
            blocks.append(block)
    return np.concatenate(blocks)


def wrong(found, whole):
    error = np.abs(found - whole)
    return float(np.mean(error > 1e-4)), float(error.max())


print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
seen = {}
for mode in ("CONSTANT", "VARIABLE"):
    data = encode(mode)
    whole = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    ways = {
        "SoundFile.read": in_blocks(soundfile.SoundFile, data),
        "soundfile.blocks": np.concatenate(list(soundfile.blocks(io.BytesIO(data), BLOCK, dtype="float32"))),
        "without seeking": in_blocks(WithoutSeeking, data),
    }
    for way, found in ways.items():
        part, largest = seen[mode, way] = wrong(found, whole)
        print(f"{mode:8} {way:16} {100 * part:5.1f} % of the samples differ from one whole read, by up to {largest:.2f}")
holds = all(
    (part > 0.02 and largest > 0.3) if mode == "VARIABLE" and way != "without seeking" else part == 0
    for (mode, way), (part, largest) in seen.items()
)
sys.exit(0 if holds else 1)
PY
printf 'lines of "part2_3_length" on stderr: %s\n' "$(grep -c part2_3_length "$folder/stderr" || true)"
grep -v part2_3_length "$folder/stderr" >&2 || true
[ "$status" = 0 ] && echo "as described" || echo "CHANGED"
exit "$status"
