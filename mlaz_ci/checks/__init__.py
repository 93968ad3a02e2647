"""The doctor: one file per concern, pure over values; only `requirements` asks outside, through the Resolver port."""

from __future__ import annotations

from mlaz_ci.checks.examination import Examination, examine
from mlaz_ci.checks.verdict import raise_on_errors

__all__ = ["Examination", "examine", "raise_on_errors"]
