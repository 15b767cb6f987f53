"""``/docs``: the OpenAPI description as one page, without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "code{font-family:ui-monospace,monospace}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"}
_LIMITS = ("enum", "minimum", "exclusiveMinimum", "maximum", "maxLength")


def add_docs(app: FastAPI) -> None:
    """Serve the page."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_page(app.openapi()), headers=_HEADERS)


def _page(described: dict[str, Any]) -> str:
    about = described["info"]
    title = escape(f"{about['title']} {about['version']}")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1><p>{escape(about['description'])} For programs: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, methods in described["paths"].items():
        parts += [_operation(method.upper(), path, operation) for method, operation in methods.items()]
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = escape(operation.get("description", ""))
    answers = ((status, answer.get("description", "")) for status, answer in operation.get("responses", {}).items())
    content = operation.get("requestBody", {}).get("content", {})
    fields = [
        (name, _kind(field), _description(field))
        for body in content.values()
        for name, field in body["schema"].get("properties", {}).items()
    ]
    head = f"<h2><code>{method} {escape(path)}</code></h2><p>{text}</p>"
    return head + _table(("field", "kind", "what"), fields) + _table(("status", "when"), answers)


def _kind(field: dict[str, Any]) -> str:
    inner = field.get("items", field)
    limits = ", ".join(f"{name} {_shown(inner[name])}" for name in _LIMITS if name in inner)
    many = "any number of: " if "items" in field else ""
    return f"{many}{inner.get('type', '')} {limits}".strip()


def _description(field: dict[str, Any]) -> str:
    return str(field.get("description") or field.get("items", {}).get("description", ""))


def _shown(limit: object) -> str:
    return "/".join(map(str, limit)) if isinstance(limit, list) else str(limit)


def _table(heads: tuple[str, ...], rows: Any) -> str:  # noqa: ANN401 - rows of texts
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return ""
    return "<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>" + "".join(lines) + "</table>"
