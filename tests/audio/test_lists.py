"""Files that name recordings in place of holding one are refused by name, and nothing that they name is opened."""

import io
import socket

import pytest

from whisper_max.audio.formats.lists import find_list
from whisper_max.audio.io import load_audio
from whisper_max.errors import AudioError

LISTS = {
    "an HLS or m3u playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.0,\n{address}\n#EXT-X-ENDLIST\n",
    "a list of files for FFmpeg (concat)": "ffconcat version 1.0\nfile '{address}'\nfile 'missing.wav'\n",
    "a DASH manifest": '<?xml version="1.0"?>\n<!-- live -->\n<MPD><BaseURL>{address}</BaseURL></MPD>\n',
    "a session description (SDP)": "v=0\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 0\r\na={address}\r\n",
    "a pls playlist": "[playlist]\nFile1={address}\nNumberOfEntries=1\n",
    "an ASX playlist": '<asx version="3.0"><entry><ref href="{address}"/></entry></asx>\n',
    "an XSPF playlist": '<?xml version="1.0"?>\n<playlist version="1"><location>{address}</location></playlist>\n',
    "a SMIL presentation": '<smil><body><audio src="{address}"/></body></smil>\n',
    "an IMF package": '<?xml version="1.0"?>\n<cpl:CompositionPlaylist><Id>{address}</Id></cpl:CompositionPlaylist>\n',
    "a Smooth Streaming manifest": '\ufeff<?xml version="1.0"?>\n<SmoothStreamingMedia Url="{address}"/>\n',
    "an address": "{address}\n",
}

_NOTHING = ": found 0.00 s of sound; get the whole file, or convert what is there to wav"


@pytest.fixture
def listener():
    """A socket that must see nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server
        with pytest.raises(TimeoutError):
            server.accept()


def written(name, listener):
    return LISTS[name].format(address=f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav").encode()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_refused_by_its_name(tmp_path, listener, name):
    path = tmp_path / "a.wav"
    path.write_bytes(written(name, listener))
    with pytest.raises(AudioError) as error:
        load_audio(path)
    assert str(error.value) == f"{path}: {name}, not a recording; what it names is not opened: give that itself"


@pytest.mark.parametrize("name", LISTS)
def test_ffmpeg_does_not_take_one(tmp_path, listener, name):
    from whisper_max.audio.formats.containers import open_container

    with open(tmp_path / "a", "w+b", buffering=0) as file:
        file.write(written(name, listener))
        with pytest.raises(AudioError) as error:
            open_container(file, "a")
    assert str(error.value) == f"a: not audio, damaged or truncated{_NOTHING}"


def test_what_ffmpeg_says_inside_is_not_told():
    with pytest.raises(AudioError) as error:
        load_audio(io.BytesIO(b"neither sound nor a list " * 100))
    assert str(error.value) == f"BytesIO: not audio, damaged or truncated{_NOTHING}"


@pytest.mark.parametrize("head", [b"", b"RIFF", b"ID3\x04<smil>", b"<html><MPD>", b"v=01", b"<!--" * 1000, b" " * 5000])
def test_other_bytes_are_no_list(head):
    assert find_list(head) is None
