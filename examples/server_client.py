"""A recording to a running server, with OpenAI's own client: ``python -m whisper_max serve`` first.

``python examples/server_client.py [RECORDING]``; it takes ``pip install openai``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from openai import OpenAI


def main(path: str = "samples/jfk.flac") -> None:
    """Print the text as it comes."""
    address = os.environ.get("WHISPER_MAX_URL", "http://127.0.0.1:8000/v1")
    client = OpenAI(base_url=address, api_key=os.environ.get("WHISPER_MAX_API_KEY", "none"))
    with Path(path).open("rb") as recording:
        for event in client.audio.transcriptions.create(model="whisper-1", file=recording, stream=True):
            if event.type == "transcript.text.delta":
                print(event.delta, end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:2])
