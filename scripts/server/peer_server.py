"""The smallest server of faster-whisper that answers ``POST /v1/audio/transcriptions``, for ``load_server.py`` to load.

A request is decoded and transcribed on a thread, as the servers built on faster-whisper do it; the model is shared.
It stands in for speaches, which is not on the package index.
"""

from __future__ import annotations

import argparse
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Form, UploadFile
from faster_whisper import WhisperModel


def create_app(model: WhisperModel) -> FastAPI:
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/audio/transcriptions")
    def transcribe(file: UploadFile, language: Annotated[str | None, Form()] = None) -> dict[str, str]:
        segments, _ = model.transcribe(file.file, language=language, beam_size=1)
        return {"text": "".join(segment.text for segment in segments).strip()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a CTranslate2 model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--compute_type", default="float32")
    args = parser.parse_args()
    model = WhisperModel(args.model, device="cpu", compute_type=args.compute_type, local_files_only=True)
    uvicorn.run(create_app(model), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
