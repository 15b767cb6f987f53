"""Write the tables of docs/performance.md from the JSON in docs/results, and draw their charts in docs/figures.

    python scripts/performance_tables.py            # both; the charts need the group benchmark
    python scripts/performance_tables.py --no_charts

In the document, ``<!-- table: systems jfk.json -->`` up to ``<!-- end of table -->`` holds what that JSON gives:
systems and tiers of scripts/benchmark.py, curves of scripts/cost_curves.py, stages and whole of ``whisper_max bench``.
A JSON that is not there yet is said to be unmeasured.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import curves, report, stages

DOCS = Path(__file__).resolve().parents[1] / "docs"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "systems": report.table,
    "tiers": report.tiers,
    "curves": curves.table,
    "stages": stages.table,
    "whole": stages.whole_table,
}
CHARTS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "systems": report.draw,
    "curves": curves.draw_curves,
    "bench": stages.draw,
}
DRAWN = ("systems", "curves", "whole")
"""The tables that are followed by their JSON's chart."""
PLACE = re.compile(r"(<!-- table: (\w+) (\S+\.json) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_tables(document: str, results: Path) -> str:
    """The document with every table as its JSON gives it now."""

    def filled(place: re.Match[str]) -> str:
        start, table, name, end = place.groups()
        path = results / name
        text = f"Not measured yet: no `{name}`."
        if path.exists():
            text = TABLES[table](json.loads(path.read_text(encoding="utf-8")))
            text += f"\n\n![{path.stem}](figures/{path.stem}.svg)" if table in DRAWN else ""
        return f"{start}\n{text}\n\n{end}"

    return PLACE.sub(filled, document)


def main() -> int:
    """Write the tables, draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of performance.md, results and figures")
    parser.add_argument("--no_charts", action="store_true")
    args = parser.parse_args()
    path, results = args.docs / "performance.md", args.docs / "results"
    document = path.read_text(encoding="utf-8")
    path.write_text(with_tables(document, results), encoding="utf-8")
    for name in dict.fromkeys(place[3] for place in PLACE.finditer(document)):
        if not args.no_charts and (results / name).exists():
            result = json.loads((results / name).read_text(encoding="utf-8"))
            CHARTS[result["kind"]](result, report.chart_path(results / name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
