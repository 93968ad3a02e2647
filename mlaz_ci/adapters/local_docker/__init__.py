"""The local target from inside the action's container: a sibling container of our own image serves on after the step has ended."""

from mlaz_ci.adapters.local_docker.serving import LocalDocker

__all__ = ["LocalDocker"]
