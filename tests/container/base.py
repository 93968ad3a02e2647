"""The stand-in for the official python image: Debian with its own Python, made by debootstrap where no registry can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.container.engine import Engine

STAND_IN = "localhost/mlaz-ci-test-base:bookworm"

# What the official image leaves out as well, so that sizes compare.
_NEEDLESS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)
_OWN_AUTHORITIES = Path("usr/local/share/ca-certificates")


def provide_base_image(engine: Engine) -> str:
    """The image named by MLAZ_BASE_IMAGE, else the stand-in, made once and kept in the engine's storage."""
    given = os.environ.get("MLAZ_BASE_IMAGE")
    if given:
        return given
    if not engine.has_image(STAND_IN):
        with tempfile.TemporaryDirectory(prefix="mlaz-base-") as folder:
            _make_stand_in(engine, Path(folder) / "root")
    return STAND_IN


def _make_stand_in(engine: Engine, root: Path) -> None:
    packages = "ca-certificates,python3,python3-venv,python3-pip"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)],
        check=True,
        timeout=900,
        capture_output=True,
    )
    for each in _NEEDLESS:
        shutil.rmtree(root / each, ignore_errors=True)
    # A machine behind a company's proxy trusts authorities of its own; what it builds must trust them too.
    if (Path("/") / _OWN_AUTHORITIES).is_dir():
        shutil.copytree(Path("/") / _OWN_AUTHORITIES, root / _OWN_AUTHORITIES, dirs_exist_ok=True)
        subprocess.run(["chroot", str(root), "update-ca-certificates"], check=True, capture_output=True)
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["podman", "import", "-", STAND_IN],
            stdin=tar.stdout,
            env=dict(engine.environ),
            check=True,
            capture_output=True,
        )
