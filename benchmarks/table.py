"""Figures beside those of the peers and the budget, as a small table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure. `budget` is the most it may be, of the peer's where `is_ratio`; None: it is told, and held to nothing."""

    what: str
    ours: float | None
    peer: float | None = None
    budget: float | None = None
    is_ratio: bool = False
    unit: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.ours is not None and self.peer else None

    @property
    def is_met(self) -> bool | None:
        """None: nothing to meet, or nothing measured."""
        held = self.ratio if self.is_ratio else self.ours
        return None if self.budget is None or held is None else held <= self.budget

    @property
    def cells(self) -> tuple[str, ...]:
        unit = f" {self.unit}" if self.unit else ""
        budget = "" if self.budget is None else f"{self.budget:g} x peer" if self.is_ratio else f"{self.budget:g}{unit}"
        met = {None: "", True: "yes", False: "NO"}[self.is_met]
        ours = "not measured" if self.ours is None else _told(self.ours) + unit
        peer = "" if self.peer is None else _told(self.peer) + unit
        return self.what, ours, peer, "" if self.ratio is None else f"{self.ratio:.2f}", budget, met


def _told(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"


def print_table(title: str, rows: Sequence[Row], *, peer: str = "peer") -> None:
    """`peer` names who the second column is."""
    lines = [("what", "ours", peer, "ratio", "budget", "met?"), *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    print(f"\n{title}")
    for number, line in enumerate(lines):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
