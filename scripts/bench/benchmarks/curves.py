"""The points of the cost curves: which there are, their tables and their charts, all read back from the JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import plotting, save

UNITS = {"minutes": "minutes of audio", "batch": "windows in a batch", "threads": "threads"}
LABELS = ("seconds to transcribe", "peak memory, MB")


@dataclass(frozen=True)
class Point:
    """One run. batch: windows decoded at once; 1 is in sequence."""

    compute_type: str
    minutes: float
    batch: int
    threads: int

    @classmethod
    def of(cls, measured: dict[str, Any]) -> Point:
        return cls(*(measured[name] for name in ("compute_type", "minutes", "batch", "threads")))

    @property
    def system(self) -> str:
        """The name that ``systems`` knows it by."""
        return f"ours-{self.compute_type}" + (f"-batch{self.batch}" if self.batch > 1 else "")

    def measured(self, run: dict[str, Any]) -> dict[str, Any]:
        """With what a child printed; seconds are of a warm run where there was one."""
        seconds = run.get("warm", run["first"])
        figures = {"seconds": seconds, "load": run["load"], "peak_mb": run["peak_mb"], "versions": run["versions"]}
        return {**asdict(self), **figures}


def points_of(
    compute_types: Sequence[str],
    lengths: Sequence[float],
    batches: Sequence[int],
    threads: Sequence[int],
    minutes: float,
    all_threads: int,
) -> list[Point]:
    """Every point of the three curves once, the quick ones first; no more than one thing differs along a curve."""
    points = [Point(kind, length, 1, all_threads) for length in lengths for kind in compute_types]
    points += [Point(kind, minutes, batch, all_threads) for batch in batches for kind in compute_types]
    points += [Point(kind, minutes, 1, count) for count in threads for kind in compute_types]
    return sorted(dict.fromkeys(points), key=lambda point: point.minutes)


def curves(result: dict[str, Any], along: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each compute type, and its points along one thing in its order; the others are the result's usual ones."""
    usual = {"batch": 1, "threads": result["threads"], "minutes": result["minutes"]}
    fixed = [name for name in usual if name != along]
    for kind in dict.fromkeys(point["compute_type"] for point in result["points"]):
        own = [point for point in result["points"] if point["compute_type"] == kind]
        kept = [point for point in own if all(point[name] == usual[name] for name in fixed)]
        if kept:
            yield kind, sorted(kept, key=lambda point: float(point[along]))


def table(result: dict[str, Any]) -> str:
    """A table for each curve."""
    machine = result["machine"]
    lines = [
        f"{result['audio']}, {result['model']}; {machine['processor']}, Python {machine['python']}. Where nothing else"
        f" is said: {result['minutes']:g} minutes, in sequence, {result['threads']} threads."
    ]
    for along, unit in UNITS.items():
        lines += ["", f"| {unit} | weights | transcribe s | x real time | peak MB |", "| --- | --- | --- | --- | --- |"]
        for kind, points in curves(result, along):
            lines += [f"| {point[along]:g} | {kind} | {_figures(point)} |" for point in points]
    return "\n".join(lines)


def _figures(point: dict[str, Any]) -> str:
    speed = 60 * point["minutes"] / point["seconds"]
    return f"{point['seconds']:.2f} | {speed:.1f} | {point['peak_mb']:.0f}"


def draw_curves(result: dict[str, Any], path: Path) -> None:
    """Seconds and memory along each thing, as PNG and SVG; ``path`` without their suffix."""
    pyplot = plotting()
    figure, rows = pyplot.subplots(2, len(UNITS), figsize=(11, 6), dpi=100, layout="constrained")
    for column, (along, unit) in enumerate(UNITS.items()):
        for axes, figure_of, label in zip(rows[:, column], ("seconds", "peak_mb"), LABELS, strict=True):
            for kind, points in curves(result, along):
                places, values = ([point[name] for point in points] for name in (along, figure_of))
                axes.plot(places, values, marker="o", label=kind)
            axes.set(xlabel=unit, ylabel=label, xscale="log" if along == "minutes" else "linear")
            if along != "minutes":
                axes.set_xticks(sorted({point[along] for _, points in curves(result, along) for point in points}))
            if (along, figure_of) == ("minutes", "seconds"):
                axes.set_yscale("log")
            else:
                axes.margins(y=0.15)
                axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
    figure.suptitle(f"{result['model']}, {result['machine']['processor']}")
    save(figure, path)
    pyplot.close(figure)
