"""What Azure says when it refuses, in whatever form it comes, and which failure of the catalogue that is. Pure; it asks nobody."""

from __future__ import annotations

from mlaz_ci.refusals.catalogue import refusal_of
from mlaz_ci.refusals.told import Told, read_told

__all__ = ["Told", "read_told", "refusal_of"]
