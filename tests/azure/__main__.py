"""`python -m tests.azure`: the emulated Azure for a person, with its state in a folder."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from tests.azure import backends, conda, environments, webservices
from tests.azure.arm import deployments
from tests.azure.inference import InferenceServer
from tests.azure.server import UNWANTED_VARIABLES, Emulator

_SAVE_EVERY_S = 5.0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.azure",
        description="An Azure Machine Learning on this machine. Prints what to export, then serves until interrupted.",
    )
    parser.add_argument("--folder", type=Path, default=Path(".azure-emulator"), help="where it keeps its state")
    parser.add_argument("--port", type=int, default=0, help="the proxy's port (default: a free one)")
    parser.add_argument("--no-serving", action="store_true", help="services are states alone; scoring answers 501")
    parser.add_argument(
        "--pass",
        dest="passes",
        action="append",
        default=[],
        metavar="HOST",
        help="a host to reach through the proxy though it is none of the cloud's, such as a package index (`*` stands for any part)",
    )
    parser.add_argument("--verbose", action="store_true", help="write every exchange to standard error")
    return parser


def _print_environment(azure: Emulator, passes: Sequence[str]) -> None:
    print("# Source these lines, in a shell of its own:")
    print("unset " + " ".join(UNWANTED_VARIABLES))
    authorities = azure.write_authorities(azure.folder / "authorities.pem") if passes else None
    for name, value in {
        **azure.environment(authorities),
        **azure.credentials(),
        "HOME": str(azure.folder / "home"),
    }.items():
        print(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()


def _report(azure: Emulator, told: int, *, verbose: bool) -> int:
    for failure in azure.cloud.take_failures():
        print(failure, file=sys.stderr)
    exchanges = azure.cloud.trace.find(where=lambda exchange: exchange.number > told and exchange.ended_s is not None)
    for exchange in exchanges if verbose else ():
        print(exchange, file=sys.stderr)
    return max((exchange.number for exchange in exchanges), default=told)


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.no_serving:
        try:
            conda.uv_command()
        except FileNotFoundError as error:
            parser.error(f"{error}, or pass --no-serving")
    folder: Path = options.folder.resolve()
    (folder / "home").mkdir(parents=True, exist_ok=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    passes: list[str] = options.passes
    with Emulator(folder, port=options.port, passes=lambda host: any(fnmatch(host, each) for each in passes)) as azure:
        try:
            azure.cloud.load()
        except ValueError as error:
            parser.error(str(error))
        if not options.no_serving:
            server = InferenceServer()
            azure.cloud.live(backends.Serving).backend = server
            azure.cloud.live(environments.Building).builder = server.environments
            deployments.resume(azure.cloud)
            webservices.resume(azure.cloud)
        _print_environment(azure, passes)
        told = 0
        while not stopped.wait(_SAVE_EVERY_S):
            told = _report(azure, told, verbose=options.verbose)
            azure.cloud.save()
        _report(azure, told, verbose=options.verbose)
        azure.cloud.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
