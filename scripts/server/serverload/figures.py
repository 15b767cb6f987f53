"""The figures of the load, each as PNG and SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullLocator

from serverload.load import parts

matplotlib.use("Agg")

_COLOURS = ("tab:blue", "tab:orange")


def save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib has no types here
    for kind in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=120)
    plt.close(figure)


def draw_load(results: dict[str, Any], path: Path) -> None:
    """Throughput and latency over the number of clients, and memory over time."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained")
    for (name, result), colour in zip(results["servers"].items(), _COLOURS, strict=False):
        clients = [level["clients"] for level in result["levels"]]
        speeds = [level["audio_seconds_per_second"] for level in result["levels"]]
        axes[0].plot(clients, speeds, "o-", label=name, color=colour)
        for mark, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
            waits = [level[mark] for level in result["levels"]]
            axes[1].plot(clients, waits, style, marker="o", label=f"{name} {mark}", color=colour)
        axes[2].plot([t for t, _ in result["rss"]], [b / 2**20 for _, b in result["rss"]], label=name, color=colour)
        for level in result["levels"]:
            axes[2].annotate(str(level["clients"]), (level["began"], 0), color=colour, fontsize="x-small")
    axes[0].set(title="Throughput", ylabel="seconds of audio a second", ylim=(0, None))
    axes[1].set(title="Latency", ylabel="seconds", yscale="log")
    for axis in axes[:2]:
        axis.set(xlabel="clients", xscale="log")
        axis.set_xticks(results["clients"], [str(each) for each in results["clients"]], minor=False)
        axis.xaxis.set_minor_locator(NullLocator())
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].yaxis.set_minor_locator(NullLocator())
    axes[2].set(title="Resident memory", xlabel="seconds under load, with the clients", ylabel="MiB", ylim=(0, None))
    for axis in axes:
        axis.legend(fontsize="x-small", loc="lower right")
        axis.grid(alpha=0.3)
    figure.suptitle(results["what"])
    save(figure, path)


def draw_fairness(results: dict[str, Any], path: Path) -> None:
    """The latency of each short recording over time, before, beside and after the long one."""
    names = list(results["servers"])
    figure, axes = plt.subplots(
        1, len(names), figsize=(6.5 * len(names), 5.5), layout="constrained", sharey=True, squeeze=False
    )
    for axis, name, colour in zip(axes[0], names, _COLOURS, strict=False):
        result = results["servers"][name]
        axis.axvspan(0, result["cancelled_after"], color="0.92", label="a long recording is on its way")
        axis.scatter(*zip(*result["short"], strict=True), s=14, color=colour, label="a short one")
        if result["long_first_after"] is not None:
            axis.axvline(result["long_first_after"], color="0.5", ls="--", label="its first segments")
        for part, waits in parts(result).items():
            if waits:
                axis.plot([], [], " ", label=f"{part}: median {np.median(waits):.2f} s, longest {max(waits):.2f} s")
        axis.set(title=name, xlabel="seconds since the long one's upload began", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    axes[0][0].set(ylabel="seconds until a short one is answered")
    figure.suptitle(results["what"])
    save(figure, path)
