"""What the site needs besides ``docs/``: the README as its first page, and links that leave the folder.

Pages in ``docs/`` are read on their own too, so they name files of the repository by relative paths. On the site such a
link goes to the README's page where it names that, and is plain text elsewhere; a file that is not there is an error.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(((?!https?:|#|mailto:)[^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:  # noqa: ANN401 - mkdocs ships no types of it
    """Add the README as the first page."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_as_page(readme)))
    return files


def _as_page(readme: str) -> str:
    """The README with links as they are seen from ``docs/``."""

    def moved(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        inside = target.removeprefix("docs/")
        return f"{mark}[{text}]({inside if inside != target else '../' + target})"

    return _LINK.sub(moved, readme)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401
    """Turn links to files outside ``docs/`` into text, or into links to the README's page."""

    def resolved(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        path, _, anchor = target.partition("#")
        if not path.startswith(".."):
            return link.group(0)
        aim = (DOCS / page.file.src_uri).parent.joinpath(path).resolve()
        if not aim.exists():
            raise PluginError(f"{page.file.src_uri}: no such file: {target}")
        if aim.is_relative_to(DOCS):
            return link.group(0)
        if aim == REPOSITORY / "README.md":
            return f"{mark}[{text}](index.md{'#' + anchor if anchor else ''})"
        return text

    return _LINK.sub(resolved, markdown)
