"""Files of frames: damage, what is before and behind them, and what their headers count."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.support.made_audio import heard, media, speech, written
from whisper_max.audio.formats.dts import DTS
from whisper_max.audio.formats.frame_walk import Frame, Kind


@pytest.fixture(scope="module")
def counted():
    """An mp3 of variable bit rate whose header counts its frames."""
    return written(speech(), 16000, format="MP3", bitrate_mode="VARIABLE", compression_level=0.7)


JUNK = np.random.default_rng(1).bytes(1500)
CHANGES = {  # bytes that take the place of so many at these parts of the file
    "lost": (b"", 1500, (0.5,)),
    "put in": (JUNK, 0, (0.5,)),
    "overwritten": (JUNK, 1500, (0.5,)),
    "overwritten in three places": (JUNK[:400], 400, (0.3, 0.45, 0.6)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_follows_damage_of_a_counted_mp3_is_at_its_time(counted, change):
    whole, _ = heard(counted)
    junk, n_replaced, parts = CHANGES[change]
    content = counted
    for part in parts:
        at = int(len(counted) * part)
        content = content[:at] + junk + content[at + n_replaced :]
    samples, warnings = heard(content)
    assert {warning.kind for warning in warnings} == {"damaged"}
    assert len(samples) == pytest.approx(len(whole), abs=1200)
    late = slice(-2 * 16000, -8000)
    assert np.corrcoef(samples[late], whole[late])[0, 1] > 0.99


def test_bytes_that_are_lost_where_nothing_counts_frames_are_told():
    content = media("mp3", "libmp3lame", rate=16000, write_xing="0")
    half = len(content) // 2
    _, warnings = heard(content[:half] + content[half + 2000 :])
    assert [warning.kind for warning in warnings] == ["damaged"]


@pytest.mark.parametrize("before", [bytes(1000), b"\x5a" * 1000])
@pytest.mark.parametrize(("format", "codec"), [("mp3", "libmp3lame"), ("ac3", "ac3")])
def test_what_is_before_the_first_frame_is_ignored(format, codec, before):
    content = media(format, codec)
    whole, _ = heard(content)
    samples, warnings = heard(before + content)
    assert np.array_equal(samples, whole)
    assert warnings == []


def test_a_frame_of_dts_by_its_header():
    """As FFmpeg's experimental encoder writes one."""
    head = bytes.fromhex("7ffe8001fc3d60f00ac00138")
    assert DTS.frame(head) == Frame(Kind("dca", 16000, 512, (0,)), 5648)
    assert DTS.frame(head[:8]) is None


def test_mp3_in_wav_is_read_by_its_frames():
    content = media("wav", "libmp3lame")
    whole, warnings = heard(content)
    assert warnings == []
    half = len(content) // 2
    samples, warnings = heard(content[:half] + bytes(3000) + content[half + 3000 :])
    assert [warning.kind for warning in warnings] == ["damaged"]
    assert len(samples) == pytest.approx(len(whole), abs=1200)


def test_a_last_frame_that_can_not_be_decoded_is_told():
    content = media("adts", "aac")
    whole, _ = heard(content)
    last = content.rindex(content[:3])  # as all frames begin
    samples, [warning] = heard(content[: last + 7] + b"\xa5" * (len(content) - last - 7))
    assert (warning.kind, warning.end - warning.start) == ("damaged", pytest.approx(1024 / 48000, abs=0.001))
    assert len(samples) / 16000 == pytest.approx(len(whole) / 16000 - 1024 / 48000, abs=0.001)


# ---------------------------------------------------------------- AMR


@pytest.fixture(scope="module")
def amr():
    try:
        return media("amr", "libopencore_amrnb", rate=8000)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV writes no AMR: {error}")


@pytest.mark.parametrize("after", [bytes(3000), b"TAG" + bytes(125), b"\xff" * 3000])
def test_what_is_behind_amr_is_ignored(amr, after):
    whole, _ = heard(amr)
    samples, warnings = heard(amr + after)
    assert np.array_equal(samples, whole)
    assert warnings == []


@pytest.mark.parametrize("size", [100, 400])
def test_damage_of_amr_costs_its_time(amr, size):
    whole, _ = heard(amr)
    half = len(amr) // 2
    samples, [warning] = heard(amr[:half] + b"\xff" * size + amr[half + size :])
    assert (warning.kind, len(samples)) == ("damaged", len(whole))
    assert warning.end - warning.start < size / 13 * 0.02 + 0.1
    late = slice(round((warning.end + 0.5) * 16000), -8000)
    assert np.corrcoef(samples[late], whole[late])[0, 1] > 0.98


def test_amr_that_is_cut_is_told(amr):
    assert [warning.kind for warning in heard(amr[:-5])[1]] == ["truncated"]
    assert [warning.kind for warning in heard(amr[: len(amr) // 2] + amr[len(amr) // 2 + 500 :])[1]] == ["damaged"]


@pytest.mark.parametrize("frame", [b"\x7c", b"\x44" + bytes(5)])
def test_amr_frames_without_data_are_silence_by_the_recordings_own_account(frame):
    try:
        content = media("amr", "libopencore_amrnb", rate=8000)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV writes no AMR: {error}")
    sizes = [13, 14, 16, 18, 20, 21, 27, 32]  # bytes by mode
    frames, place = [], 6
    while place < len(content):
        frames.append(content[place : place + sizes[content[place] >> 3 & 15]])
        place += len(frames[-1])
    frames[100:150] = [frame] * 50
    samples, warnings = heard(content[:6] + b"".join(frames), strict=True)
    assert warnings == []
    assert len(samples) == len(frames) * 320
    assert np.abs(samples[2 * 16000 + 800 : 3 * 16000 - 800]).max() < 1e-4
