"""Recordings of every format that can be written here, and damaged ones; see ``Kind``."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from scripts.fuzz.kinds import Kind, always
from scripts.fuzz.mutate import changed
from scripts.fuzz.verdicts import ACCEPTED, FAULT, Verdict, refused
from whisper_max.audio.io import load_audio
from whisper_max.errors import AudioError

_RATE, _SECONDS = 16000, 1.5

_SOUNDFILE: dict[str, tuple[str, str, int, dict[str, Any]]] = {  # name: format, subtype, channels, further arguments
    "pcm.wav": ("WAV", "PCM_16", 1, {}),
    "stereo24.wav": ("WAV", "PCM_24", 2, {}),
    "float.wav": ("WAV", "FLOAT", 1, {}),
    "ulaw.wav": ("WAV", "ULAW", 1, {}),
    "adpcm.wav": ("WAV", "IMA_ADPCM", 1, {}),
    "mask.wav": ("WAVEX", "PCM_16", 6, {}),
    "pcm.rf64": ("RF64", "PCM_16", 1, {}),
    "pcm.w64": ("W64", "PCM_16", 1, {}),
    "pcm.aiff": ("AIFF", "PCM_16", 1, {}),
    "pcm.au": ("AU", "PCM_16", 1, {}),
    "pcm.caf": ("CAF", "PCM_16", 1, {}),
    "alac.caf": ("CAF", "ALAC_16", 1, {}),
    "pcm.voc": ("VOC", "PCM_16", 1, {}),
    "pcm.nist": ("NIST", "PCM_16", 1, {}),
    "mono.flac": ("FLAC", "PCM_16", 1, {}),
    "stereo.flac": ("FLAC", "PCM_24", 2, {}),
    "vorbis.ogg": ("OGG", "VORBIS", 1, {}),
    "opus.ogg": ("OGG", "OPUS", 2, {}),
    "cbr.mp3": ("MP3", "MPEG_LAYER_III", 1, {"bitrate_mode": "CONSTANT"}),
    "vbr.mp3": ("MP3", "MPEG_LAYER_III", 2, {"bitrate_mode": "VARIABLE", "compression_level": 0.7}),
}
_FFMPEG = {  # name: container, codec, rate
    "aac.m4a": ("mp4", "aac", 16000),
    "aac.mp4": ("mp4", "aac", 44100),
    "alac.mov": ("mov", "alac", 16000),
    "pcm.mov": ("mov", "pcm_s16le", 16000),
    "aac.adts": ("adts", "aac", 16000),
    "opus.webm": ("webm", "libopus", 48000),
    "opus.mka": ("matroska", "opus", 48000),
    "flac.mka": ("matroska", "flac", 16000),
    "pcm.mkv": ("matroska", "pcm_s16le", 16000),
    "mp3.avi": ("avi", "libmp3lame", 16000),
    "aac.ts": ("mpegts", "aac", 16000),
    "mp2.mpg": ("mpeg", "mp2", 16000),
    "ac3.ac3": ("ac3", "ac3", 32000),
    "wma.wma": ("asf", "wmav2", 16000),
    "flac.ogg": ("ogg", "flac", 16000),
    "speex.ogg": ("ogg", "libspeex", 16000),
    "aac.flv": ("flv", "aac", 44100),
    "pcm.nut": ("nut", "pcm_s16le", 16000),
    "amr.amr": ("amr", "libopencore_amrnb", 8000),
    "adpcm.wav": ("wav", "adpcm_ms", 16000),
}


def seeds() -> dict[str, dict[str, bytes]]:
    """A short recording in each format that the libraries of this machine write, and joined ones."""
    made: dict[str, bytes] = {}
    for name, (format, subtype, channels, more) in _SOUNDFILE.items():
        file = io.BytesIO()
        with suppress(soundfile.LibsndfileError):
            soundfile.write(file, _sound(_RATE, channels), _RATE, format=format, subtype=subtype, **more)
            made[name] = file.getvalue()
    for name, (container, codec, rate) in _FFMPEG.items():
        with suppress(av.FFmpegError, ValueError):  # this build has no such encoder
            made[f"av-{name}"] = _by_ffmpeg(container, codec, rate)
    for name in ("cbr.mp3", "mono.flac", "vorbis.ogg"):
        made[f"joined-{name}"] = made[name] * 2
    tag = b"ID3\x04\0\0\0\0\x01\0" + b"TIT2\0\0\0\x05\0\0\0talk" + bytes(113)
    made["tagged.mp3"] = tag + made["vbr.mp3"] + b"TAG" + bytes(125)
    return {name: {name: content} for name, content in made.items()}


def _sound(rate: int, channels: int) -> NDArray[np.float32]:
    """(n_samples, channels): tones under noise, the same each time."""
    time = np.arange(round(_SECONDS * rate))[:, None] / rate
    tones = np.sin(2 * np.pi * 220 * (1 + np.arange(channels)) * time)
    noise = np.random.default_rng(0).normal(0, 0.05, tones.shape)
    return (0.3 * tones + noise).astype(np.float32)


def _by_ffmpeg(container: str, codec: str, rate: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(_sound(rate, 1).T.copy(), format="fltp", layout="mono")
        frame.sample_rate = rate
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def change(name: str, content: bytes, random: Random) -> bytes:
    """Changed bytes; of ogg, now and then, with pages whose checksums are right again."""
    data = changed(content, random)
    return _with_checksums(data) if name.endswith((".ogg", ".opus")) and random.random() < 0.5 else data


def _with_checksums(content: bytes) -> bytes:
    """Ogg pages with their CRC-32 (polynomial 0x04c11db7, most significant bit first) computed anew."""
    data = bytearray(content)
    start = data.find(b"OggS")
    while start >= 0 and start + 27 <= len(data):
        n_segments = data[start + 26]
        size = 27 + n_segments + sum(data[start + 27 : start + 27 + n_segments])
        page = data[start : start + size]
        page[22:26] = bytes(4)
        data[start + 22 : start + 26] = _ogg_crc(bytes(page)).to_bytes(4, "little")
        start = data.find(b"OggS", start + 27)
    return bytes(data)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg_crc(page: bytes) -> int:
    """From zlib's CRC, which takes the least significant bit first and inverts at both ends."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)


def attempt(folder: Path) -> Verdict:
    """Decode it."""
    (path,) = folder.iterdir()
    try:
        with warnings.catch_warnings():  # what could not be heard is told by warnings of ours
            warnings.filterwarnings("ignore", category=UserWarning)
            samples = load_audio(path)
    except AudioError as error:
        return refused(error)
    if not np.isfinite(samples).all():
        return Verdict(FAULT, "samples that are not finite")
    return Verdict(ACCEPTED, f"{len(samples) / _RATE:.2f} s")


def _seeds() -> Mapping[str, Mapping[str, bytes]]:
    return seeds()


KIND = Kind(_seeds, change, lambda: always(attempt))
