"""The table of what each CPU kernel reaches of the peak that bounds it, as ``benchmark_kernels.py`` measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PEAK, MEMORY = "peak", "memory"


@dataclass(frozen=True)
class Figure:
    """One kernel at one shape. bound: the peak that limits it; operations: multiplications and additions; bytes: the
    least that has to move."""

    name: str
    bound: str
    nanoseconds: float
    operations: int
    bytes: int

    @property
    def rate(self) -> float:
        """Billions a second: of bytes where memory bounds it, of operations otherwise."""
        return (self.bytes if self.bound == MEMORY else self.operations) / self.nanoseconds


def table(result: dict[str, Any]) -> str:
    """The machine, then each kernel's rate and its share of the peak that bounds it."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    figures = [Figure(**figure) for figure in result["figures"]]
    peaks = {figure.bound: figure.rate for figure in figures if figure.name.startswith(PEAK)}
    rows = [
        f"| {figure.name} | {figure.nanoseconds / 1e6:.3f} | {figure.bound} | {figure.rate:.1f} "
        f"| {figure.rate / peaks[figure.bound]:.0%} |"
        for figure in figures
    ]
    head = [
        "| kernel (rows x depth x columns) | ms | bound | Gop/s or GB/s | of the peak |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([f"{machine}; one core, its processor time, the fastest of many runs.", "", *head, *rows])
