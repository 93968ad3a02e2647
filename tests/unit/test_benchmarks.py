"""The benchmarks tell what they are asked, and a budget is met or missed as it says."""

from __future__ import annotations

import importlib
import re
import sys

import pytest

from benchmarks.table import Row, print_table


@pytest.mark.parametrize("name", ["aci", "detection", "doctor", "image", "managed"])
@pytest.mark.parametrize(("given", "exit_code"), [("--help", 0), ("many", 2)])
def test_benchmark__asked_for_help_or_wrongly__says_what_it_takes(
    name: str, given: str, exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", given])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main()
    told = capsys.readouterr()
    assert ended.value.code == exit_code
    assert f"usage: {name}.py [-h]" in told.out + told.err


@pytest.mark.parametrize(
    ("row", "is_met"),
    [
        (Row(what="requests", ours=30, budget=30), True),
        (Row(what="requests", ours=31, budget=30), False),
        (Row(what="wall", ours=6, peer=10, budget=0.6, is_ratio=True), True),
        (Row(what="wall", ours=6.1, peer=10, budget=0.6, is_ratio=True), False),
        (Row(what="wall", ours=0.5, budget=0.6, is_ratio=True), None),
        (Row(what="wall", ours=6, peer=10), None),
        (Row(what="size", ours=None, budget=110), None),
    ],
)
def test_row__beside_its_budget__is_met_missed_or_not_held_to_any(row: Row, is_met: bool | None) -> None:
    assert row.is_met is is_met


def test_table__of_a_missed_budget__says_no(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("deploy", [Row(what="wall", unit="s", ours=7, peer=10, budget=0.6, is_ratio=True)], peer="theirs")
    last = capsys.readouterr().out.splitlines()[-1].strip()
    assert re.split(r"\s{2,}", last) == ["wall", "7 s", "10 s", "0.70", "0.6 x peer", "NO"]
