"""What the container starts: the action's surroundings in, an exit code out."""

import sys

from mlaz_ci.main import run_action

if __name__ == "__main__":
    sys.exit(run_action())
