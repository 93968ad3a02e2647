"""Stands where entrypoint.py stands in the image, and tells what reached it. What it does is the input `do-this`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    match os.environ["INPUT_DO-THIS"]:
        case "tell":
            return tell()
        case "wait":
            return wait()
        case other:
            print(f"no such thing to do: {other}")
            return 2


def tell() -> int:
    facts = {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "working_directory": str(Path.cwd()),
        "import_path": sys.path,
        "process_id": os.getpid(),
        "user_id": os.getuid(),
        "unbuffered": sys.stdout.write_through,  # type: ignore[union-attr]
        "socket": Path("/var/run/docker.sock").is_socket(),
        "parents_command": Path("/proc/1/cmdline").read_text().split("\0")[:-1],
    }
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as outputs:
        outputs.write(f"facts<<END\n{json.dumps(facts, indent=1)}\nEND\n")
    Path(os.environ["GITHUB_STEP_SUMMARY"]).write_text("# Told\n")
    Path("written-by-the-step").write_text("here\n")
    print("::notice title=probe::told")
    return 0


def wait() -> int:
    def leave(number: int, _frame: object) -> None:
        with Path(os.environ["GITHUB_OUTPUT"]).open("a") as outputs:
            outputs.write(f"signal={signal.Signals(number).name}\n")
        sys.exit(130)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    print("ready")
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
