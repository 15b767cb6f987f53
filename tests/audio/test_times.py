"""Time stamps of containers: where sound starts, where none is stored, and which of several tracks is heard."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from whisper_max.audio.block import Block
from whisper_max.audio.io import open_audio
from whisper_max.audio.reading import Reading
from whisper_max.audio.timeline import Timeline
from whisper_max.errors import OptionError

RATE = 48000
EXACT = [
    ("matroska", "libopus"),
    ("webm", "libopus"),
    ("mp4", "aac"),
    ("mov", "aac"),
    ("mpegts", "aac"),
    ("flv", "aac"),
]


def noise(seconds, seed=0):
    return (0.2 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def write(path: Path, format, tracks, picture=None, **options):
    """A file of tracks, each (codec, samples, shift, options), and of pictures in a range of seconds.

    shift: gives a time stamp in seconds its other one, or None for a packet that is lost.
    """
    with av.open(str(path), "w", format=format, options=options) as container:
        streams = [_stream(container, codec, about) for codec, _, _, about in tracks]
        packets = []
        if picture is not None:
            video = container.add_stream("mpeg4", rate=5)
            video.width = video.height = 16
            video.pix_fmt = "yuv420p"
            for number in range(round(picture[0] * 5), round(picture[1] * 5)):
                frame = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")
                frame.pts = number
                packets += video.encode(frame)
            packets += video.encode(None)
        for stream, (_, samples, shift, _) in zip(streams, tracks, strict=True):
            packets += [packet for packet in _packets(stream, samples) if _moved(packet, shift)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)


def _stream(container, codec, about):
    stream = container.add_stream(codec, rate=RATE, layout=about.get("layout", "mono"))
    if "language" in about:
        stream.metadata["language"] = about["language"]
    if "disposition" in about:
        stream.disposition = about["disposition"]
    return stream


def _packets(stream, samples):
    n_channels = stream.codec_context.channels
    resampler = av.AudioResampler(stream.format, stream.layout, RATE, frame_size=stream.codec_context.frame_size or 960)
    frame = av.AudioFrame.from_ndarray(np.tile(samples, (n_channels, 1)), format="fltp", layout=stream.layout)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(piece)
    yield from stream.encode(None)


def _moved(packet, shift):
    time = shift(float(packet.pts * packet.time_base)) if shift else float(packet.pts * packet.time_base)
    if time is None:
        return False
    moved = round(time / packet.time_base) - packet.pts if shift else 0
    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
    return True


def heard(path, **options):
    with open_audio(path, **options) as waveform:
        return waveform.read(0, waveform.n_samples), list(waveform.warnings)


def silences(samples, least=0.05):
    """From where to where there is silence, in seconds."""
    loud = np.abs(samples) > 1e-4
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    return [(a / 16000, b / 16000) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > least * 16000]


@pytest.mark.parametrize(("format", "codec"), EXACT)
@pytest.mark.parametrize("hole", [0.3, 6.0])
def test_a_hole_is_silence(tmp_path, format, codec, hole):
    path = tmp_path / "a"
    write(path, format, [(codec, noise(4), lambda time: time + hole if time > 2 else time, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(4 + hole, abs=0.1)
    [(start, end)] = silences(samples)
    assert (start, end) == (pytest.approx(2, abs=0.1), pytest.approx(2 + hole, abs=0.1))
    [warning] = warnings
    assert (warning.kind, warning.start, warning.end) == (
        "missing", pytest.approx(start, abs=0.06), pytest.approx(end, abs=0.06),
    )  # fmt: skip


@pytest.mark.parametrize(("format", "codec"), EXACT)
def test_packets_that_are_lost_are_silence(tmp_path, format, codec):
    path = tmp_path / "a"
    write(path, format, [(codec, noise(6), lambda time: None if int(time * 5) % 10 == 5 else time, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(6, abs=0.1)
    assert [start for start, _ in silences(samples)] == [pytest.approx(each, abs=0.1) for each in (1, 3, 5)]
    assert [warning.kind for warning in warnings] == ["missing"] * 3


@pytest.mark.parametrize(("format", "codec"), EXACT)
@pytest.mark.parametrize("late", [0.86, 5.0, 3600.0])
def test_the_start_of_a_lone_track_is_0(tmp_path, format, codec, late):
    path = tmp_path / "a"
    write(path, format, [(codec, noise(3), lambda time: time + late, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(3, abs=0.1)
    assert warnings == []


@pytest.mark.parametrize(
    ("format", "codec"), [("matroska", "libopus"), ("mp4", "aac"), ("mov", "aac"), ("mpegts", "aac")]
)
@pytest.mark.parametrize("late", [0.0, 4.9])
def test_sound_beside_pictures_starts_where_it_starts_against_them(tmp_path, format, codec, late):
    path = tmp_path / "a"
    write(path, format, [(codec, noise(3), lambda time: time + late, {})], picture=(0, 12))
    samples, _ = heard(path)
    assert len(samples) / 16000 == pytest.approx(3 + late, abs=0.12)
    assert np.flatnonzero(np.abs(samples) > 1e-3)[0] / 16000 == pytest.approx(late, abs=0.12)


def test_a_clock_that_is_set_back_goes_on(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(paths):
        write(path, "mpegts", [("aac", noise(3, seed), None, {})])
    (tmp_path / "both").write_bytes(paths[0].read_bytes() + paths[1].read_bytes())
    samples, warnings = heard(tmp_path / "both")
    assert len(samples) / 16000 == pytest.approx(6, abs=0.2)
    assert silences(samples, 0.2) == []
    assert warnings == []


def placed(stamps: list[tuple[float, bool]]) -> tuple[list[float], float]:
    """Blocks of a second by their stamps and whether damage is before them: when each is heard, and all seconds."""
    timeline = Timeline(Reading("a"))
    timeline.begin(None)
    blocks = []
    for number, (stamp, is_damaged) in enumerate(stamps, 1):
        block = Block(1000, np.full((1000, 1), number, np.float32))
        blocks += timeline.place(block, stamp, is_damaged=is_damaged)
    samples = np.concatenate([block.samples[:, 0] for block in [*blocks, *timeline.finish()]])
    heard_at = [float(np.flatnonzero(samples == number)[0] / 1000) for number in range(1, len(stamps) + 1)]
    return heard_at, len(samples) / 1000


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        # Back, and to where it would be by now.
        ([100, 101, 50, 51, 104, 105], [0, 1, 2, 3, 4, 5]),
        # The same with half a second missing between.
        ([100, 101, 50, 51, 104.5, 105.5], [0, 1, 2, 3, 4.5, 5.5]),
        # Another stretch with a hole of its own.
        ([100, 101, 0, 1, 8, 9], [0, 1, 2, 3, 10, 11]),
        # Two that were set back, one after the other.
        ([100, 101, 50, 51, 20, 21], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_clock_set_back_by_mistake_makes_no_silence_where_it_returns(stamps, expected):
    heard_at, seconds = placed([(stamp, False) for stamp in stamps])
    assert heard_at == pytest.approx(expected)
    assert seconds == pytest.approx(expected[-1] + 1)


def test_what_is_lost_with_a_clock_set_back_by_damage_is_counted_once():
    heard_at, seconds = placed([(9.0, False), (5.2, True), (15.0, True), (16.0, False)])
    assert heard_at == pytest.approx([0, 1, 6, 7])
    assert seconds == pytest.approx(8)


def test_a_clock_that_jumps_by_days_is_no_hole(tmp_path):
    path = tmp_path / "a.mkv"
    write(path, "matroska", [("libopus", noise(4), lambda time: time + 90_000 if time > 2 else time, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(4, abs=0.1)
    assert [warning.kind for warning in warnings] == ["clock"]


def test_sound_beside_pictures_that_is_cut_is_told(tmp_path):
    path = tmp_path / "a"
    write(path, "asf", [("libmp3lame", noise(12), None, {})], picture=(0, 12))
    assert heard(path)[1] == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [warning.kind for warning in heard(path)[1]] == ["truncated"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["avi", "matroska", "nut", "asf"])
def test_an_index_behind_the_sound_is_no_sound_that_is_left(tmp_path, format):
    path = tmp_path / "a"
    write(path, format, [("libmp3lame", noise(60), None, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(60, abs=0.2)
    assert warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["eac3", "g722"])
@pytest.mark.parametrize("part", [1.0, 0.7], ids=["whole", "cut, without an index"])
def test_blocks_of_the_format_that_are_no_chunks_are_no_clock(tmp_path, codec, part):
    path = tmp_path / "a"
    write(path, "avi", [(codec, noise(6), None, {})])
    content = path.read_bytes()
    path.write_bytes(content[: round(part * len(content))])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(6 * part, abs=1.0 if part < 1 else 0.1)
    assert [warning.kind for warning in warnings if warning.kind != "damaged"] == (["truncated"] if part < 1 else [])
    damaged = bytearray(content)
    middle = len(content) // 2
    damaged[middle : middle + 3000] = bytes(3000)
    path.write_bytes(damaged)
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(6, abs=0.5)
    assert {warning.kind for warning in warnings} == {"damaged"}


def test_the_end_of_one_of_two_streams_in_ogg_is_not_lost_in_silence(tmp_path):
    path = tmp_path / "a"
    write(path, "ogg", [("libopus", noise(6), None, {}), ("libopus", noise(6), None, {})])
    content = bytearray(path.read_bytes())
    assert [warning.kind for warning in heard(path)[1]] == ["tracks"]
    serial = content[14:18]
    pages = [found.start() for found in re.finditer(b"OggS", content)]
    own = [page for page in pages if content[page + 14 : page + 18] == serial]
    assert own[-1] < pages[-1]
    for page in own[-2:]:
        content[page + 40] ^= 0xFF
    path.write_bytes(content)
    samples, warnings = heard(path)
    assert len(samples) < 5.5 * 16000
    assert [warning.kind for warning in warnings] == ["tracks", "damaged"]


# ---------------------------------------------------------------- how much silence time stamps may make


@pytest.mark.parametrize("format", ["flv", "mpegts"])
@pytest.mark.parametrize("jump", [60.0, 4 * 3600.0])
@pytest.mark.parametrize("last", [1.02, 9.0], ids=["one stamp", "all behind it"])
def test_a_false_time_stamp_makes_no_hours_of_silence(tmp_path, format, jump, last):
    path = tmp_path / "a"
    write(path, format, [("aac", noise(1.5), lambda time: time + jump if 1 <= time < last else time, {})])
    samples, warnings = heard(path)
    if last > 2 and jump < 3600:  # a hole that can be
        assert len(samples) / 16000 == pytest.approx(1.5 + jump, abs=0.1)
        assert [warning.kind for warning in warnings] == ["missing"]
    else:
        assert len(samples) / 16000 == pytest.approx(1.5, abs=0.1)
        assert {warning.kind for warning in warnings} <= {"clock", "truncated"}  # flv's header has the false end
        assert "s, more than" in warnings[0].message or "hours, more than" in warnings[0].message


@pytest.mark.slow
def test_many_holes_make_no_more_silence_than_one(tmp_path):
    path = tmp_path / "a"
    write(path, "flv", [("aac", noise(4), lambda time: time + 900 * int(time * 5), {})])
    samples, warnings = heard(path)
    assert 3600 - 900 < len(samples) / 16000 < 3600 + 50
    kinds = [warning.kind for warning in warnings]
    assert kinds[:4] == ["missing"] * 4
    assert set(kinds[4:]) == {"clock"}


def test_a_false_time_of_a_cluster_is_no_hole_beyond_the_end_that_the_header_tells(tmp_path):
    path = tmp_path / "a"
    write(path, "webm", [("libopus", noise(4), None, {})], cluster_time_limit="1000")
    content = bytearray(path.read_bytes())
    cluster = content.index(b"\x1f\x43\xb6\x75", content.index(b"\x1f\x43\xb6\x75") + 4)
    time = content.index(b"\xe7\x82", cluster)
    content[time + 2 : time + 4] = (60_000).to_bytes(2)
    path.write_bytes(content)
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(4, abs=0.1)
    assert [warning.kind for warning in warnings] == ["clock"]


@pytest.mark.slow
@pytest.mark.parametrize(("format", "codec"), [("matroska", "libopus"), ("mp4", "aac"), ("mov", "aac")])
def test_a_hole_of_hours_that_the_header_tells_of_is_silence(tmp_path, format, codec):
    path = tmp_path / "a"
    write(path, format, [(codec, noise(2), lambda time: time + 7200 if time > 1 else time, {})])
    samples, warnings = heard(path)
    assert len(samples) / 16000 == pytest.approx(7202, abs=0.1)
    assert [warning.kind for warning in warnings] == ["missing"]


def test_a_page_of_ogg_with_a_false_time_is_no_hole(tmp_path):
    path = tmp_path / "a"
    write(path, "ogg", [("libopus", noise(3), None, {})], page_duration="500000")
    whole, _ = heard(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"OggS", content.find(b"OggS", len(content) // 2) + 1)
    content[place + 6 : place + 14] = (10**10).to_bytes(8, "little")
    length = 27 + content[place + 26] + sum(content[place + 27 : place + 27 + content[place + 26]])
    content[place + 22 : place + 26] = bytes(4)
    content[place + 22 : place + 26] = page_checksum(content[place : place + length])
    path.write_bytes(content)
    samples, warnings = heard(path)
    assert abs(len(samples) - len(whole)) < 0.1 * 16000
    assert "clock" in [warning.kind for warning in warnings]


def page_checksum(page):
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc.to_bytes(4, "little")


# ---------------------------------------------------------------- tracks


DEFAULT, COMMENT = av.stream.Disposition.default, av.stream.Disposition.comment


def two_tracks(path, format, codec, first, second):
    """A track of noise for 3 s, and one of 5 s."""
    write(path, format, [(codec, noise(3), None, first), (codec, noise(5, 1), None, second)])
    return path


@pytest.mark.parametrize(
    ("format", "codec"), [("matroska", "libopus"), ("webm", "libopus"), ("mp4", "aac"), ("mov", "aac")]
)
def test_of_several_tracks_the_default_one_is_heard(tmp_path, format, codec):
    german, english = {"language": "ger", "disposition": COMMENT}, {"language": "eng", "disposition": DEFAULT}
    path = two_tracks(tmp_path / "a", format, codec, german, english)
    samples, [warning] = heard(path)
    assert len(samples) / 16000 == pytest.approx(5, abs=0.1)
    assert warning.kind == "tracks"
    assert "track 2 of 1 (ger" in warning.message
    for track, seconds in ((1, 3), ("2", 5), ("ger", 3), ("de", 3), ("deu", 3), ("en", 5), ("EN", 5), ("eng", 5)):
        samples, warnings = heard(path, track=track, strict=True)
        assert len(samples) / 16000 == pytest.approx(seconds, abs=0.1)
        assert warnings == []
    for track in (0, 3, -1, "fr", "x", "9" * 30):
        with pytest.raises(OptionError, match="no such audio track: expected one of 1 "):
            heard(path, track=track)


def test_of_tracks_that_are_alike_the_one_of_most_channels_is_heard(tmp_path):
    path = two_tracks(tmp_path / "a", "mpegts", "aac", {"layout": "mono"}, {"layout": "stereo"})
    assert len(heard(path)[0]) / 16000 == pytest.approx(5, abs=0.1)


def test_a_file_of_one_track_has_no_other(tmp_path):
    import soundfile

    for format, subtype in (("WAV", "PCM_16"), ("OGG", "OPUS"), ("MP3", None), ("FLAC", None)):
        content = io.BytesIO()
        soundfile.write(content, noise(1), RATE, format=format, subtype=subtype)
        for track in (1, "1", None):
            assert len(heard(io.BytesIO(content.getvalue()), track=track)[0]) == pytest.approx(16000, abs=1200)
        with pytest.raises(OptionError, match="no such audio track"):
            heard(io.BytesIO(content.getvalue()), track=2)
    with pytest.raises(OptionError, match="track is for files"):
        heard(noise(1), track=1)
