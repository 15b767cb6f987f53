"""What goes wrong, as answers: OpenAI's error object, one line each, without a path or a stack trace."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from whisper_max.errors import (
    AlignmentError,
    ArtifactError,
    AudioError,
    CheckpointError,
    DeviceError,
    HubError,
    OptionError,
    UnknownModelError,
    WhisperMaxError,
)

log = logging.getLogger(__name__)

INVALID, NOT_FOUND, OVERLOADED, FAULT = "invalid_request_error", "not_found_error", "overloaded_error", "server_error"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MODEL_ERRORS = (ArtifactError, CheckpointError, DeviceError, HubError)


class TooLong(AudioError):
    """A recording longer than the server takes."""


class APIError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: one line for people.
        type: kind of error. code: the error for programs. param: the field it is about.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.body(), self.status, self.headers)


def busy(message: str, retry_after: int) -> APIError:
    """Too much to do: come back later."""
    return APIError(429, message, type=OVERLOADED, code="overloaded", headers={"Retry-After": str(retry_after)})


def stopping() -> APIError:
    """The server is about to end."""
    return APIError(503, "the server is stopping", type=OVERLOADED, code="stopping", headers={"Retry-After": "5"})


def fault() -> APIError:
    """Something unexpected, told to the log and to nobody else."""
    return APIError(500, "the server failed on this request", type=FAULT, code="internal_error")


def as_api_error(error: BaseException) -> APIError:
    """The answer to any error; what is not ours is logged."""
    if isinstance(error, APIError):
        return error
    if _is_disk_full(error):
        return APIError(507, "no space is left for this recording", type=FAULT, code="disk_full")
    if isinstance(error, OptionError):
        param = str(error.where).partition(":")[0] if error.where is not None else None
        return APIError(400, str(error), code="invalid_option", param=param)
    if isinstance(error, TooLong):
        return APIError(413, str(error), code="audio_too_long", param="file")
    if isinstance(error, AudioError):
        return APIError(400, _without_place(error), code="invalid_audio", param="file")
    if isinstance(error, AlignmentError):
        return APIError(400, str(error), code="text_not_said", param="text")
    if isinstance(error, UnknownModelError):
        return APIError(404, "no such model", type=NOT_FOUND, code="model_not_found", param="model")
    log.error("a request failed", exc_info=error)
    if isinstance(error, _MODEL_ERRORS):
        return APIError(503, "the model can't be loaded", type=FAULT, code="model_unavailable", param="model")
    return fault()


def _is_disk_full(error: BaseException) -> bool:
    """True for a full disk, told by the system or by an error of ours that was raised from it."""
    return any(isinstance(each, OSError) and each.errno in _FULL for each in (error, error.__cause__))


def _without_place(error: WhisperMaxError) -> str:
    """The message without the name that the recording has on this machine."""
    return str(WhisperMaxError(error.what, where="file", expected=error.expected, found=error.found))


def add_error_handlers(app: FastAPI, doors: Mapping[str, Callable[[APIError], Response]]) -> None:
    """Answer every error in OpenAI's shape, but at the addresses of other protocols' doors.

    Args:
        app: the app.
        doors: how each of those addresses tells an error.
    """

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def answer_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        code = {404: "not_found", 405: "method_not_allowed"}.get(status)
        message = {404: "no such address", 405: "no such method here"}.get(status, "the request can't be answered")
        refused = APIError(status, message, type=NOT_FOUND if status == 404 else INVALID, code=code, headers=headers)
        return doors.get(request.url.path, APIError.response)(refused)

    for kind in (APIError, WhisperMaxError, OSError):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(Exception, answer)
