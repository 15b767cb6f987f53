"""What ``python -m whisper_max bench --json`` writes, as tables in Markdown and as a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import plotting, save
from whisper_max.commands.bench import MS, stage_name, stage_rate


def table(result: dict[str, Any]) -> str:
    """Each stage alone, beside its floor."""
    machine, peaks = result["machine"], result["peaks"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        f"{result['options']['model']} on {result['target']}, {result['audio']['name']}; {machine['processor']},"
        f" {machine['threads']} threads; {versions}. Measured beside it with NumPy: float32 matrix product"
        f" {peaks['flops'] / 1e9:.0f} GFLOP/s, reading memory {peaks['bandwidth'] / 1e9:.1f} GB/s.",
        "",
        "| stage alone | ms (least) | floor ms | times the floor | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result["stages"]:
        floor = f"{MS * row['floor']:.2f} | {row['median'] / row['floor']:.1f}" if "floor" in row else "- | -"
        times = f"{MS * row['median']:.2f} ({MS * row['min']:.2f})"
        lines.append(f"| {stage_name(row)} | {times} | {floor} | {stage_rate(row)} |")
    return "\n".join(lines)


def whole_table(result: dict[str, Any]) -> str:
    """Where the time of a whole run goes."""
    whole, audio = result["whole"], result["audio"]
    lines = [
        f"{result['options']['model']} on {result['target']}; {audio['name']}, {audio['seconds']:.0f} s:"
        f" {whole['median']:.2f} s (median of {whole['runs']}, {whole['min']:.2f}-{whole['max']:.2f}),"
        f" {audio['seconds'] / whole['median']:.1f} x real time, {whole['windows']} windows, {whole['steps']} tokens.",
        "",
        "| stage | calls | s | floor s | % of all |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, stage in whole["stages"].items():
        floor = "-" if stage["floor"] is None else f"{stage['floor']:.2f}"
        share = 100 * stage["seconds"] / whole["median"]
        lines.append(f"| {name} | {stage['calls']} | {stage['seconds']:.2f} | {floor} | {share:.1f} |")
    rest = whole["everything else"]
    return "\n".join([*lines, f"| everything else | | {rest:.2f} | - | {100 * rest / whole['median']:.1f} |"])


def draw(result: dict[str, Any], path: Path) -> None:
    """Bars of a whole run's stages beside their floors, as PNG and SVG; ``path`` without their suffix."""
    pyplot = plotting()
    stages = result["whole"]["stages"]
    names = list(stages)[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(names) + 1.2), dpi=100, layout="constrained")
    places = range(len(names))
    seconds, floors = ([stages[name][figure_of] or 0 for name in names] for figure_of in ("seconds", "floor"))
    axes.barh([place + 0.2 for place in places], seconds, height=0.4, color="tab:orange", label="measured")
    axes.barh([place - 0.2 for place in places], floors, height=0.4, color="tab:gray", label="floor")
    axes.set_yticks(list(places), names)
    axes.set(xlabel="seconds of a whole run", title=f"{result['options']['model']} on {result['target']}")
    axes.legend()
    save(figure, path)
    pyplot.close(figure)
