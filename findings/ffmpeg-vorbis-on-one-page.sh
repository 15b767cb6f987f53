#!/usr/bin/env bash
# Finding: FFmpeg 8.1.2 (through PyAV 18.1.0) gives an Ogg Vorbis stream a wrong length where all its audio is on one Ogg page.
#
# Expected: as many samples as the last page's granule position says (Vorbis I, A.2), which libvorbis gives: the samples
# that were encoded.
# Happens: short sound, up to some seconds, fits on one page. FFmpeg then starts its time stamps at half a block
# (128 or 256), not at 0, and gives more samples than there are, or fewer: the last ones are lost. The samples before the
# end are the same. Where the audio takes two pages or more, length and time stamps are right. So the end of a short clip
# depends on how a muxer paged it, not on what it holds.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import io
import sys

import av
import numpy as np
import soundfile

RATE = 16000


def pages(data):
    """The granule position of each Ogg page: https://xiph.org/ogg/doc/framing.html."""
    found, at = [], 0
    while at < len(data):
        found.append(int.from_bytes(data[at + 6 : at + 14], "little"))
        segments = data[at + 26]
        at += 27 + segments + sum(data[at + 27 : at + 27 + segments])
    return found


print("PyAV", av.__version__, "FFmpeg", av.ffmpeg_version_info, "soundfile", soundfile.__version__)
holds = []
for samples in (300, 4000, 8000, 16000, 48000, 160000, 400000):
    file = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE)
    soundfile.write(file, tone, RATE, format="OGG", subtype="VORBIS")
    granules = pages(file.getvalue())
    xiph = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]
    with av.open(io.BytesIO(file.getvalue())) as source:
        frames = list(source.decode(audio=0))
    ffmpeg = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    audio_pages = sum(granule > 0 for granule in granules)
    both = min(len(xiph), len(ffmpeg))
    same = float(np.abs(xiph[:both] - ffmpeg[:both]).max()) < 1e-5
    print(
        f"{samples:6} samples on {audio_pages} page(s), last granule position {granules[-1]:6}:"
        f" libvorbis {len(xiph):6}, FFmpeg {len(ffmpeg):6} from time stamp {frames[0].pts:3}; common part equal: {same}"
    )
    wrong = len(ffmpeg) != samples and frames[0].pts > 0
    right = len(ffmpeg) == samples and frames[0].pts == 0
    holds.append(granules[-1] == samples == len(xiph) and same and (wrong if audio_pages == 1 else right))
print("as described" if all(holds) else "CHANGED")
sys.exit(0 if all(holds) else 1)
PY
exit "$status"
