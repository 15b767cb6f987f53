"""A worker for pipelines of Ray Data of your own: a column of names in, columns of outcomes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from whisper_max.api import Model
from whisper_max.errors import WhisperMaxError
from whisper_max.files.remote import shown_source
from whisper_max.load import load_model


class Transcriber:
    """For ``map_batches``: adds ``text``, ``language``, ``duration``, ``segments`` (JSON), ``status`` (done or failed),
    ``error_kind`` and ``error`` to each row. A recording that can't be transcribed is a row like all others.

    ::

        paths = ray.data.from_items([{"path": "s3://archive/a.mp3"}])
        paths.map_batches(Transcriber, fn_constructor_kwargs={"model": {"model": "base", "threads": 4}},
                          compute=ray.data.ActorPoolStrategy(size=2), num_cpus=4, batch_size=8)

    Args:
        model: arguments of ``load_model``.
        options: fields of ``TranscribeOptions``, the same for all rows.
        column: the one with the paths or URLs.
        files_at_once: rows of a batch that are decoded side by side.
    """

    def __init__(
        self,
        model: Mapping[str, Any] | Model | None = None,
        options: Mapping[str, Any] | None = None,
        column: str = "path",
        files_at_once: int = 8,
    ) -> None:
        self._model = model if isinstance(model, Model) else load_model(**(model or {}))
        self._options = dict(options or {})
        self._column = column
        self._files_at_once = files_at_once

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The rows with their new columns, in their order."""
        sources = [str(source) for source in batch[self._column]]
        columns: dict[str, list[Any]] = {name: [value] * len(sources) for name, value in _FAILED.items()}
        for outcome in self._model.transcribe_many(sources, batch_size=self._files_at_once, **self._options):
            row = dict(_FAILED)
            try:
                result = outcome.value()
                row |= {"status": "done", "text": result.text, "language": result.language, "duration": result.duration}
                row |= {"segments": json.dumps([segment.to_dict() for segment in result.segments], ensure_ascii=False)}
            except WhisperMaxError as error:
                where = shown_source(sources[outcome.index])
                told = WhisperMaxError(error.what, where=where, expected=error.expected, found=error.found)
                row |= {"error_kind": type(error).__name__, "error": str(told)}
            for name, value in row.items():
                columns[name][outcome.index] = value
        return {**batch, **{name: np.array(values) for name, values in columns.items()}}


_FAILED: dict[str, Any] = {
    **{"status": "failed", "error_kind": "", "error": "", "text": "", "language": "", "duration": 0.0},
    "segments": "[]",
}
