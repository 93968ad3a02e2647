"""What uv needs of the machine that runs the tests (proxy, certificates, cache), and nothing else of it."""

from __future__ import annotations

import os
from pathlib import Path

from mlaz_ci.serving.surroundings import scrubbed_environment


def surroundings(home: Path, **changes: str) -> dict[str, str]:
    cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    pyenv = os.environ.get("PYENV_ROOT") or str(Path.home() / ".pyenv")
    return {**scrubbed_environment(os.environ, home=str(home)), "UV_CACHE_DIR": cache, "PYENV_ROOT": pyenv, **changes}
