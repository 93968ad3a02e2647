"""mlaz-ci: from an MLflow run to a verified scoring URI, and away again.

A tour of the rooms, from the rim inwards (each imports only what stands below it):

    main, api        read the surroundings, build the adapters, call the core, turn the result into an exit code
    adapters         the only rooms that touch the outside: github, identity, mlflow_store, uv, local_process, local_docker, clock,
                     azureml_v1 and azure_arm; those that speak Azure's REST stand on azure_wire
    operations       the verbs
    refusals, migration       what Azure's refusals mean; what a v1 service is as its successor
    execute, report, inputs   carry out a plan; render an Outcome; turn inputs into a Request
    checks, targets, serving  findings about a model; a target's rules and steps; what runs inside a service
    plan, polling    frozen steps; waiting with a deadline
    ports, models, errors     the windows outside; the glossary; the catalogue of failures

`from mlaz_ci import deploy, cleanup` is the Python door (api.py); it is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlaz_ci._version import __version__

if TYPE_CHECKING:
    from mlaz_ci.api import cleanup, deploy

__all__ = ["__version__", "cleanup", "deploy"]


def __getattr__(name: str) -> Any:
    if name in {"deploy", "cleanup"}:
        from mlaz_ci import api  # loaded on first use: importing the package must cost nothing

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
