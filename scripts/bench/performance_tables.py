"""Write the tables of docs/performance.md and docs/measured from the JSON there, and draw their charts.

    python scripts/bench/performance_tables.py            # both; the charts need the group benchmark
    python scripts/bench/performance_tables.py --no_charts

In a page, ``<!-- table: systems jfk.json -->`` up to ``<!-- end of table -->`` holds what that JSON gives:
systems and tiers of benchmark.py, curves of cost_curves.py, stages and whole of ``whisper_max bench``, kernels of
benchmark_kernels.py, encoders of encoder_shapes.py. A JSON that is not there yet is said to be unmeasured.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import curves, encoders, kernels, report, stages

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "systems": report.table,
    "tiers": report.tiers,
    "curves": curves.table,
    "stages": stages.table,
    "whole": stages.whole_table,
    "kernels": kernels.table,
    "encoders": encoders.table,
}
CHARTS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "systems": report.draw,
    "curves": curves.draw_curves,
    "bench": stages.draw,
}
DRAWN = ("systems", "curves", "whole")
"""The tables that are followed by their JSON's chart."""
PLACE = re.compile(r"(<!-- table: (\w+) (\S+\.json) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages(docs: Path) -> list[Path]:
    """The pages that hold such tables."""
    return [docs / "performance.md", *sorted((docs / "measured").glob("*.md"))]


def with_tables(page: str, measured: Path, to_charts: str = "") -> str:
    """The page with every table as its JSON gives it now.

    Args:
        page: Markdown.
        measured: the folder of the JSON and the charts.
        to_charts: that folder as the page sees it, with a slash behind it.
    """

    def filled(place: re.Match[str]) -> str:
        start, table, name, end = place.groups()
        path = measured / name
        text = f"Not measured yet: no `{name}`."
        if path.exists():
            text = TABLES[table](json.loads(path.read_text(encoding="utf-8")))
            text += f"\n\n![{path.stem}]({to_charts}{path.stem}.svg)" if table in DRAWN else ""
        return f"{start}\n{text}\n\n{end}"

    return PLACE.sub(filled, page)


def main() -> int:
    """Write the tables, draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of performance.md and measured")
    parser.add_argument("--no_charts", action="store_true")
    args = parser.parse_args()
    measured = args.docs / "measured"
    names: dict[str, None] = {}
    for path in pages(args.docs):
        page = path.read_text(encoding="utf-8")
        path.write_text(with_tables(page, measured, "" if path.parent == measured else "measured/"), encoding="utf-8")
        names |= dict.fromkeys(place[3] for place in PLACE.finditer(page))
    for name in names:
        if not args.no_charts and (measured / name).exists():
            result = json.loads((measured / name).read_text(encoding="utf-8"))
            if result["kind"] in CHARTS:
                CHARTS[result["kind"]](result, (measured / name).with_suffix(""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
