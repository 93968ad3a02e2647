"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse


def number_of_runs(about: str | None) -> int:
    """From `[runs]`; `--help` tells `about`, and anything else is refused in words."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=_at_least_one, default=3, help="how often each side runs (3)")
    return int(parser.parse_args().runs)


def durations_s(about: str | None, usual: tuple[float, ...]) -> list[float]:
    """From `[seconds ...]`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="*", type=float, default=list(usual), help="how long Azure takes")
    return list(parser.parse_args().seconds)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)
