"""The verbs of the program: a Request and the ports in, an Outcome out. Nothing here exits, prints or reads the environment.

`course` is what they share, `job` the table of them all.
"""

from __future__ import annotations

from mlaz_ci.operations.job import Job

__all__ = ["Job"]
