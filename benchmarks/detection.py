"""How long after Azure has ended a deployment each client sees it.

All clients wait at once, each for a deployment of its own that takes the same time. Run from the root of a checkout:
`.venv-azure/bin/python -m benchmarks.detection [seconds...]`. README.md beside this says how to read it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.cloud import Stand, place, stand
from benchmarks.command import durations_s
from benchmarks.table import Row, print_table
from tests.azure.trace import Exchange

_EARLY_S = 120.0
_DURATIONS_S = (21.5, 47.0, 94.0, 153.0)
# What begins a deployment: the write, the header that names its operation.
_BEGINNINGS = {
    "aci": ("POST", "/services", "Operation-Location"),
    "managed": ("PUT", "/deployments/", "Azure-AsyncOperation"),
}
Client = Callable[[Stand, str], object]


def _ours(target: str) -> Client:
    return lambda here, name: here.ours(
        wants="healthy", target=target, run_id=here.run_id, service_name=name, model_name=name
    )


_CLIENTS: dict[str, tuple[tuple[str, str, Client], ...]] = {
    "aci": (
        ("ours", "own-aci", _ours("aci")),
        ("azureml-core", "peer-aci", lambda here, name: here.peer("azureml_core", *place(), here.run_id, name)),
    ),
    "managed": (
        ("ours", "own-managed", _ours("managed")),
        (
            "azure-ai-ml",
            "peer-managed",
            lambda here, name: here.peer("azure_ai_ml", "deploy", *place(), here.run_id, name),
        ),
    ),
}


def main() -> None:
    durations = durations_s(__doc__, _DURATIONS_S)
    delays: dict[tuple[str, float], dict[str, float]] = {}
    with stand() as here:
        for duration_s in durations:
            here.reset(provisioning_s=duration_s)
            with ThreadPoolExecutor() as pool:
                begun = [pool.submit(act, here, name) for each in _CLIENTS.values() for _, name, act in each]
            for future in begun:
                future.result()
            for target, clients in _CLIENTS.items():
                found = {who: _delay_s(here, target, name, duration_s) for who, name, _ in clients}
                delays[target, duration_s] = found
    for target, clients in _CLIENTS.items():
        peer = clients[1][0]
        rows = [
            Row(
                what=f"seen after its end, of {duration_s:g} s",
                unit="s",
                ours=delays[target, duration_s]["ours"],
                peer=delays[target, duration_s][peer],
                budget=3.0 if duration_s <= _EARLY_S else 10.0,
            )
            for duration_s in durations
        ]
        print_table(f"a deployment to {target}", rows, peer=peer)


def _delay_s(here: Stand, target: str, name: str, duration_s: float) -> float:
    """From the end of the deployment to the look of this client that showed it."""
    method, path, header = _BEGINNINGS[target]

    def is_beginning(one: Exchange) -> bool:
        is_named = f"/{name}/" in one.path or name.encode() in one.request_body
        return one.method == method and path in one.path and "/validate" not in one.path and is_named

    beginning = here.azure.cloud.trace.find(where=is_beginning)[0]
    operation = urlsplit(beginning.response_headers.get(header) or "").path.rpartition("/")[2]
    assert operation, f"{beginning} names no operation"
    looks = [
        one
        for one in here.azure.cloud.trace.find(method="GET")
        if (operation in one.path or one.path == beginning.path) and b'"Succeeded"' in one.response_body
    ]
    return looks[0].started_s - (beginning.started_s + duration_s)


if __name__ == "__main__":
    main()
