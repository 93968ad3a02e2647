"""A first deploy behind a managed endpoint of a 200 MB model that lies in the workspace, the same again, and its end, beside azure-ai-ml.

Run from the root of a checkout: `.venv-azure/bin/python -m benchmarks.managed [runs]`. README.md beside this says how to read it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from statistics import median

from benchmarks.cloud import (
    ENTRYPOINT,
    PEERS,
    SERVICE,
    Measured,
    Stand,
    cpu_s,
    kilobytes,
    overhead_s,
    place,
    polls,
    sent,
    spread_s,
    stand,
    wall_s,
)
from benchmarks.command import number_of_runs
from benchmarks.table import Row, print_table

_PEER = "azure-ai-ml"
_ENDINGS = {"status": "healthy", "cleanup": "deleted"}


def main() -> None:
    runs = number_of_runs(__doc__)
    durations = spread_s(runs)
    found: defaultdict[str, list[Measured]] = defaultdict(list)
    waited: defaultdict[str, list[Measured]] = defaultdict(list)
    to_first_s: defaultdict[str, list[float]] = defaultdict(list)
    with stand() as here:
        _round(here, defaultdict(list), 0.0)  # fills the caches of bytecode and wheels
        for duration_s in durations:
            _round(here, found, 0.0)
            _round(here, waited, duration_s)
            for command in _ENDINGS:
                home = here.home()
                step = here.step(home, target="managed", command=command)
                to_first_s[command].append(here.cpu_to_first_request_s(ENTRYPOINT, home, step))
                script = [sys.executable, str(PEERS / "azure_ai_ml.py"), command, *place(), here.run_id, SERVICE]
                to_first_s[f"their {command}"].append(here.cpu_to_first_request_s(script, here.home(), {}))
        here.reset()
        here.ours(wants="healthy", target="managed", run_id=here.run_id)
        told = here.ours(wants="deleted", tells_imports=True, target="managed", command="cleanup")
    assert "mlaz_ci" in told.imported
    heavy = {each.partition(".")[0] for each in told.imported} & {"mlflow", "azureml", "pandas", "numpy"}
    ours, theirs, again = found["ours"], found["theirs"], found["again"]
    print_table(
        f"first deploy to managed, {runs} rounds",
        [
            Row(
                what="wall time less provisioning of 8 to 13 s",
                unit="s",
                ours=overhead_s(waited["ours"], durations),
                peer=overhead_s(waited["theirs"], durations),
                budget=0.6,
                is_ratio=True,
            ),
            Row(what="wall time where Azure takes none", unit="s", ours=wall_s(ours), peer=wall_s(theirs)),
            Row(what="CPU time", unit="s", ours=cpu_s(ours), peer=cpu_s(theirs)),
            Row(what="requests without polls", ours=sent(ours), peer=sent(theirs), budget=30),
            Row(what="polls of 8 to 13 s", ours=polls(waited["ours"]), peer=polls(waited["theirs"])),
            Row(what="through the runner", unit="kB", ours=kilobytes(ours), peer=kilobytes(theirs), budget=1000),
        ],
        peer=_PEER,
    )
    print_table(
        "the same once more: `unchanged`, where the peer deploys anew",
        [
            Row(what="wall time", unit="s", ours=wall_s(again), peer=wall_s(theirs)),
            Row(what="requests", ours=sent(again), peer=sent(theirs), budget=16),
        ],
        peer=_PEER,
    )
    rows = []
    for command in _ENDINGS:
        mine, other = found[command], found[f"their {command}"]
        first, their_first = median(to_first_s[command]), median(to_first_s[f"their {command}"])
        rows += [
            Row(what=f"{command}: CPU to the first request", unit="s", ours=first, peer=their_first, budget=1.0),
            Row(what=f"{command}: wall time", unit="s", ours=wall_s(mine), peer=wall_s(other)),
            Row(what=f"{command}: requests without polls", ours=sent(mine), peer=sent(other)),
        ]
    rows.append(Row(what="of mlflow, azureml, pandas, numpy imported", ours=len(heavy), budget=0))
    print_table("status and cleanup on managed", rows, peer=_PEER)


def _round(here: Stand, found: defaultdict[str, list[Measured]], provisioning_s: float) -> None:
    here.reset(provisioning_s=provisioning_s)
    found["ours"].append(here.ours(wants="healthy", target="managed", run_id=here.run_id))
    if not provisioning_s:
        found["again"].append(here.ours(wants="unchanged", target="managed", run_id=here.run_id))
        for command, wants in _ENDINGS.items():
            found[command].append(here.ours(wants=wants, target="managed", command=command))
    here.reset(provisioning_s=provisioning_s)
    found["theirs"].append(_peer(here, "deploy"))
    if not provisioning_s:
        for command in _ENDINGS:
            found[f"their {command}"].append(_peer(here, command))


def _peer(here: Stand, command: str) -> Measured:
    return here.peer("azure_ai_ml", command, *place(), here.run_id, SERVICE)


if __name__ == "__main__":
    main()
