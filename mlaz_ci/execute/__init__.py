"""Carries out a Plan through the ports, and records every mutation with its time. It never decides what to do."""

from __future__ import annotations

from mlaz_ci.execute.download import model_folder
from mlaz_ci.execute.execution import Execution
from mlaz_ci.execute.run_ports import Ports

__all__ = ["Execution", "Ports", "model_folder"]
