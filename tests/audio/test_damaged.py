"""Containers with damage or lost ends: what plays is heard at its time, and what is not is told."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest

from tests.support.made_audio import heard, media, speech
from whisper_max.errors import AudioError

MEDIA = [
    ("mp4", "aac", {}),
    ("mp4", "aac", {"movflags": "faststart"}),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}),
    ("mov", "alac", {}),
    ("matroska", "aac", {"cluster_time_limit": "1000"}),
    ("webm", "libopus", {"cluster_time_limit": "1000"}),
    ("matroska", "ac3", {}),
    ("matroska", "flac", {}),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}),
    ("avi", "libmp3lame", {}),
    ("avi", "ac3", {}),
    ("mpegts", "aac", {}),
    ("adts", "aac", {}),
    ("ac3", "ac3", {}),
    ("eac3", "eac3", {}),
    ("flac", "flac", {}),
    ("mp3", "libmp3lame", {}),
]


@pytest.mark.parametrize(("format", "codec", "options"), MEDIA)
@pytest.mark.parametrize("size", [1, 700, 3000])
def test_a_few_damaged_bytes_cost_no_more_than_their_time(format, codec, options, size):
    content = bytearray(media(format, codec, **options))
    whole, warnings = heard(bytes(content))
    assert warnings == []
    at = len(content) // 2
    content[at : at + size] = np.random.default_rng(1).bytes(size) if size < 3000 else bytes(size)
    samples, warnings = heard(bytes(content))
    assert abs(len(samples) - len(whole)) <= 0.1 * 16000
    if size > 1:
        assert warnings
        assert sum(warning.end - warning.start for warning in warnings) < 2.0
    assert all(warning.kind in ("damaged", "missing") for warning in warnings)
    early, late = slice(16000, 4 * 16000), slice(-3 * 16000, -8000)
    assert np.abs(samples[early] - whole[early]).max() < 1e-4
    shift = len(samples) - len(whole)
    assert np.abs(samples[late] - whole[late]).max() < (2e-3 if shift == 0 else 1)


@pytest.mark.parametrize(("format", "codec", "rate"), [("flv", "libmp3lame", 44100), ("matroska", "libmp3lame", 48000)])
@pytest.mark.parametrize("damage", [b"\xaa" * 300, bytes(3000)])
def test_damage_where_time_stamps_are_milliseconds(format, codec, rate, damage):
    content = media(format, codec, rate=rate)
    whole, _ = heard(content)
    at = len(content) // 2
    samples, warnings = heard(content[:at] + damage + content[at + len(damage) :])
    assert {warning.kind for warning in warnings} == {"damaged"}
    assert sum(warning.end - warning.start for warning in warnings) < 0.8
    late = slice(-3 * 16000, -8000)
    assert np.corrcoef(samples[late], whole[late])[0, 1] > 0.95  # within a millisecond
    assert np.abs(samples[16000 : 4 * 16000] - whole[16000 : 4 * 16000]).max() < 1e-4


@pytest.mark.parametrize(
    ("format", "codec"), [("webm", "libopus"), ("flv", "libmp3lame"), ("nut", "libopus"), ("mpeg", "mp2")]
)
def test_a_file_that_is_cut_and_tells_no_length_is_told(format, codec):
    options = {"live": "1"} if format == "webm" else {"flvflags": "no_duration_filesize"} if format == "flv" else {}
    content = media(format, codec, rate=44100 if format == "flv" else 48000, **options)
    assert heard(content)[1] == []
    _, warnings = heard(content[: len(content) * 2 // 3 - 101])  # within a packet
    assert [warning.kind for warning in warnings] == ["truncated"]


def test_what_a_demuxer_gives_up_is_told():
    content = media("voc", "pcm_u8", rate=16000)
    at = len(content) // 2
    samples, warnings = heard(content[:at] + b"\x55" * 3000 + content[at + 3000 :])
    assert len(samples) < 8 * 16000
    assert [warning.kind for warning in warnings] == ["damaged"]
    assert "bytes from here can't be read" in warnings[0].message


@pytest.mark.parametrize(("format", "codec", "options"), MEDIA[1:])
@pytest.mark.parametrize("fraction", [0.9, 0.5])
def test_what_is_there_of_a_cut_file_is_heard(format, codec, options, fraction):
    if codec == "alac":
        pytest.skip("its index is at the end, without which nothing is known of what it holds")
    content = media(format, codec, **options)
    whole, _ = heard(content)
    samples, warnings = heard(content[: int(len(content) * fraction) - 101])  # within a frame or a packet
    assert len(samples) > len(whole) * (fraction - 0.12)
    assert np.abs(samples[16000:-16000] - whole[16000 : len(samples) - 16000]).max() < 1e-4
    assert [warning.kind for warning in warnings][-1:] in (["truncated"], ["damaged"])


@pytest.mark.parametrize(("format", "codec", "options"), MEDIA)
@pytest.mark.parametrize("after", [bytes(3000), b"TAG" + bytes(125)])
def test_zeros_and_tags_behind_any_file_are_ignored(format, codec, options, after):
    content = media(format, codec, **options)
    whole, _ = heard(content)
    samples, warnings = heard(content + after)
    assert np.array_equal(samples, whole)
    assert warnings == []


def test_a_file_of_which_nothing_is_left_names_the_second_reached():
    content = media("mp4", "aac")
    with pytest.raises(AudioError, match=r"found 0\.00 s of sound"):
        heard(content[: len(content) // 2])


@pytest.mark.parametrize(("format", "codec"), [("mp4", "libopus"), ("mp4", "aac"), ("3gp", "libopencore_amrnb")])
def test_packets_of_zeros_are_a_hole(format, codec):
    try:
        content = media(format, codec, rate=8000 if format == "3gp" else 48000)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV writes no {codec}: {error}")
    whole, _ = heard(content)
    start = content.index(b"mdat") + (content.index(b"moov") - content.index(b"mdat")) // 2
    samples, [warning, *more] = heard(content[:start] + bytes(1500) + content[start + 1500 :])
    assert {each.kind for each in (warning, *more)} == {"damaged"}  # packets zeroed in part may be two holes
    assert len(samples) == pytest.approx(len(whole), abs=800)
    silent = samples[round((warning.start + 0.05) * 16000) : round((warning.end - 0.05) * 16000)]
    assert len(silent) > 0
    assert np.abs(silent).max() < 1e-3


SHORT = [
    *(("caf", "alac", 16000), ("wv", "wavpack", 16000), ("tta", "tta", 16000), ("nut", "libopus", 48000)),
    *(("wav", "libmp3lame", 16000), ("wav", "adpcm_ms", 8000), ("rm", "ac3", 48000), ("mov", "aac", 44100)),
]


@pytest.mark.parametrize(("format", "codec", "rate"), SHORT)
@pytest.mark.parametrize("n_samples", [320, 1777, 16000])
def test_short_sound_is_whole_in_any_format(tmp_path, format, codec, rate, n_samples):
    path = tmp_path / "a"
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(
            stream.format, stream.layout, rate, frame_size=stream.codec_context.frame_size or 0
        )
        frame = av.AudioFrame.from_ndarray(speech()[None, 40000 : 40000 + n_samples], format="fltp", layout="mono")
        frame.sample_rate = 16000
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    samples, warnings = heard(path.read_bytes())
    assert warnings == []
    assert len(samples) >= n_samples - 0.1 * 16000


@pytest.mark.parametrize("codec", ["aac", "ac3", "libmp3lame"])
def test_damage_before_the_first_sound_keeps_the_time_of_what_is_behind_it(codec):
    content = media("matroska", codec, cluster_time_limit="1000")
    whole, _ = heard(content)
    first = content.index(b"\x1f\x43\xb6\x75")
    third = content.index(b"\x1f\x43\xb6\x75", content.index(b"\x1f\x43\xb6\x75", first + 4) + 4)
    samples, warnings = heard(content[: first + 4] + bytes(third - first - 4) + content[third:])
    assert len(samples) == pytest.approx(len(whole), abs=0.1 * 16000)
    shifts = range(-16, 17)  # time stamps are milliseconds
    late, size = whole[5 * 16000 : 8 * 16000], 3 * 16000
    apart = [np.abs(samples[5 * 16000 + shift :][:size] - late).mean() for shift in shifts]
    assert min(apart) < 0.25 * np.abs(late).mean()  # between two samples
    assert [warning.kind for warning in warnings] == ["damaged"]
    assert warnings[0].start == 0
    assert 1 < warnings[0].end < 4


def test_the_last_packet_is_told_where_nobody_knows_its_length():
    content = bytearray(media("nut", "wavpack", rate=16000))
    at = round(0.9 * len(content))
    content[at : at + 300] = bytes(300)
    _, warnings = heard(bytes(content))
    assert [warning.kind for warning in warnings] == ["damaged"]


def test_zeros_of_speex_are_no_short_frames():
    header = struct.pack("<8s20s13i", b"Speex   ", b"1.2", 1, 80, 8000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    form = struct.pack("<HHIIHHH", 0xA109, 1, 8000, 1900, 38, 16, len(header)) + header
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", 1900) + bytes(1900)
    with pytest.raises(AudioError, match="damaged"):
        heard(b"RIFF" + struct.pack("<I", len(body)) + body)


@pytest.mark.parametrize("size", [188, 192])
def test_a_transport_stream_that_is_cut_within_a_packet_is_told(size):
    content = media("mpegts", "aac", **({"mpegts_m2ts_mode": "1"} if size == 192 else {}))
    assert len(content) % size == 0
    assert heard(content)[1] == []
    _, warnings = heard(content[: len(content) // size // 2 * size + 100])
    assert [warning.kind for warning in warnings] in (["truncated"], ["damaged"])


def test_an_mxf_file_that_is_cut_off_is_told():
    content = media("mxf_opatom", "pcm_s16le")
    assert heard(content)[1] == []
    samples, warnings = heard(content[: round(0.6 * len(content))])
    assert [(warning.kind, round(warning.start), round(warning.end)) for warning in warnings] == [("truncated", 7, 11)]
    assert len(samples) == pytest.approx(6.6 * 16000, abs=1600)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("at", "damage"), [(9, b"\x55"), (12, b"\x80\x07"), (0, bytes(48))], ids=["place", "size", "all zeros"]
)
def test_a_damaged_index_of_avi_costs_no_sound(part, at, damage):
    content = media("avi", "libmp3lame", rate=16000)
    whole, _ = heard(content)
    begin = content.rindex(b"idx1") + 8
    at += begin + round(part * (len(content) - begin)) // 16 * 16
    samples, warnings = heard(content[:at] + damage + content[at + len(damage) :])
    assert np.array_equal(samples, whole)
    assert [(warning.kind, warning.end) for warning in warnings] == [("damaged", 0)]
