#!/usr/bin/env bash
# Finding: FFmpeg 8 (through PyAV 18.1.0) ends a stream over HTTP that tells no length, as radios send it, with an
# input/output error where the server closes the connection.
#
# Expected: the end of the stream: without a length, and with "Connection: close", the end of the connection is that of
# the content (RFC 9112, 6.3).
# Happens: all sound is there, and then EIO. With a length it is the end. Who can't tell the two apart takes the end of a
# broadcast for a fault; `container.size` is negative where there is no length.
#
# Exits 0 while this holds, 1 when it changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' && status=0 || status=$?
import errno
import io
import socketserver
import sys
import threading

import av
import numpy as np
import soundfile

sound = io.BytesIO()
soundfile.write(sound, 0.1 * np.sin(np.arange(3 * 44100) / 20), 44100, format="MP3")
content = sound.getvalue()


class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        length = b"Content-Length: %d\r\n" % len(content) if b"/known" in self.request.recv(4096) else b""
        self.request.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + b"\r\n" + content)


server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
threading.Thread(target=server.serve_forever, daemon=True).start()


def hear(path):
    """Seconds that are heard, and the number of the error in the end."""
    seconds = 0.0
    with av.open(f"http://127.0.0.1:{server.server_address[1]}/{path}") as container:
        try:
            for frame in container.decode(audio=0):
                seconds += frame.samples / frame.sample_rate
        except av.FFmpegError as error:
            return seconds, error.errno
    return seconds, 0


known, unknown = hear("known"), hear("unknown")
print(f"with a length: {known[0]:.2f} s, error {known[1]}; without: {unknown[0]:.2f} s, error {unknown[1]}")
sys.exit(0 if known[1] == 0 and unknown[1] == errno.EIO and unknown[0] > 2.9 else 1)
PY
exit "$status"
