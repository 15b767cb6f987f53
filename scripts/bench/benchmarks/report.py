"""From runs to medians, to a table in Markdown, to a chart; all of it read back from the JSON."""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmarks.systems import TIERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("load", "first_text", "first", "warm", "process", "peak_mb")


def error_rate(reference: str | None, text: str) -> float | None:
    """Word error rate in per cent after the standard English normalisation."""
    if reference is None:
        return None
    import jiwer
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    return 100 * float(jiwer.wer(normalise(reference), normalise(text)))


def summarise(runs: list[dict[str, Any]], reference: str | None) -> dict[str, Any]:
    """Median, least and most of each figure; how many different transcripts there were; the first one's error rate."""
    summary: dict[str, Any] = {"runs": len(runs), "versions": runs[0]["versions"]}
    for figure in FIGURES:
        values = [run[figure] for run in runs if figure in run]
        if values:
            summary[figure] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    summary["texts"] = len({run["text"] for run in runs})
    summary["wer"] = error_rate(reference, runs[0]["text"])
    return summary


def transcribing(summary: dict[str, Any]) -> dict[str, float]:
    """The warm transcription where there is one, else the only one."""
    figures: dict[str, float] = summary.get("warm", summary["first"])
    return figures


def table(result: dict[str, Any]) -> str:
    """The table of one recording, in the order of the systems; what it was measured on comes first."""
    machine, rounds = result["machine"], max((each["runs"] for each in result["summaries"].values()), default=0)
    lines = [
        f"{result['audio']}, {result['seconds']:.0f} s of speech, {result['model']}; {machine['processor']},"
        f" {machine['threads']} threads, Python {machine['python']}; {_rounds(rounds)}.",
        "",
        "| system | load s | first text s | transcribe s (min-max) | x real time | process s | peak MB | WER % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for system, summary in result["summaries"].items():
        best = transcribing(summary)
        first = f"{summary['first_text']['median']:.2f}" if "first_text" in summary else "-"
        spread = f" ({best['min']:.2f}-{best['max']:.2f})" if summary["runs"] > 1 else ""
        speed = f"{result['seconds'] / best['median']:.1f}"
        wer = "-" if summary["wer"] is None else f"{summary['wer']:.2f}"
        note = f", {summary['note']}" if summary.get("note") else ""
        lines.append(
            f"| {system}{note} | {summary['load']['median']:.2f} | {first} "
            f"| {best['median']:.2f}{spread} | {speed} "
            f"| {summary['process']['median']:.2f} | {summary['peak_mb']['median']:.0f} | {wer} |"
        )
    lines += [f"\nNot here: {name} ({reason})." for name, reason in result["missing"].items()]
    made = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in result["conversions"].items())
    versions = {name: each for summary in result["summaries"].values() for name, each in summary["versions"].items()}
    lines += ["\nVersions: " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + "."]
    lines += [f"\nMaking the peers' formats, once and apart: {made}."] if made else []
    return "\n".join(lines)


def _rounds(rounds: int) -> str:
    return "one round, which says nothing of the spread" if rounds == 1 else f"medians of {rounds} rounds in turn"


def tiers(result: dict[str, Any]) -> str:
    """The reference on CPU and GPU, MAX, and MAX in its fastest mode."""
    lines = [
        "| tier | system | transcribe s | x real time | times the reference on a CPU | peak MB | WER % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    reference = result["summaries"].get(TIERS["reference, CPU"])
    for tier, system in TIERS.items():
        summary = result["summaries"].get(system)
        if summary is None:
            reason = result["missing"].get(system)
            why = f" ({reason})" if reason else ""
            lines.append(f"| {tier} | {system} | not measured{why} | | | | |")
            continue
        seconds = transcribing(summary)["median"]
        ratio = "-" if reference is None else f"{transcribing(reference)['median'] / seconds:.2f}"
        wer = "-" if summary["wer"] is None else f"{summary['wer']:.2f}"
        lines.append(
            f"| {tier} | {system} | {seconds:.2f} | {result['seconds'] / seconds:.1f} | {ratio} "
            f"| {summary['peak_mb']['median']:.0f} | {wer} |"
        )
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Bars of the time to transcribe, quickest first, as PNG and SVG; ``path`` without their suffix."""
    pyplot = plotting()
    ordered = sorted(result["summaries"].items(), key=lambda item: -transcribing(item[1])["median"])
    names = [name for name, _ in ordered]
    medians = [transcribing(summary)["median"] for _, summary in ordered]
    colours = ["tab:orange" if name.startswith("ours") else "tab:blue" for name in names]
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(names) + 1), dpi=100, layout="constrained")
    bars = axes.barh(names, medians, color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(
        xlabel="seconds to transcribe, model loaded", title=f"{result['audio']}, {result['seconds']:.0f} s of speech"
    )
    axes.margins(x=0.12)
    save(figure, path)
    pyplot.close(figure)


def plotting() -> ModuleType:
    """matplotlib's pyplot, set up so that the same figures give the same files."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "whisper_max"
    return importlib.import_module("matplotlib.pyplot")


def save(figure: Figure, path: Path) -> None:
    """A figure as PNG and SVG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_name(f"{path.name}.png"), metadata={"Software": None})
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})
