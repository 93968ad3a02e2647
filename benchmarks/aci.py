"""A first deploy to ACI of a 200 MB model that lies in the workspace, beside azureml-core and MLflow's plugin; then the same again.

Run from the root of a checkout: `.venv-azure/bin/python -m benchmarks.aci [runs]`. README.md beside this says how to read it.
"""

from __future__ import annotations

import re
from collections import defaultdict

from benchmarks.cloud import (
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
from tests.integration.azure.store.models import Shelf

_CORE, _PLUGIN = "azureml-core", "mlflow + plugin"


def main() -> None:
    runs = number_of_runs(__doc__)
    durations = spread_s(runs)
    found: defaultdict[str, list[Measured]] = defaultdict(list)
    waited: defaultdict[str, list[Measured]] = defaultdict(list)
    with stand() as here:
        _round(here, defaultdict(list), 0.0)  # fills the caches of bytecode and wheels
        for duration_s in durations:
            _round(here, found, 0.0)
            _round(here, waited, duration_s)
        here.reset()
        told = here.ours(wants="healthy", tells_imports=True, target="aci", run_id=here.run_id)
    assert "mlaz_ci" in told.imported
    imported = [each for each in told.imported if re.match(r"(azureml\.)?mlflow\b", each)]
    for peer, most in ((_CORE, 0.6), (_PLUGIN, 1.0)):
        ours, theirs, ours_waited, theirs_waited = found["ours"], found[peer], waited["ours"], waited[peer]
        print_table(
            f"first deploy to aci, {runs} rounds",
            [
                Row(
                    what="wall time less provisioning of 8 to 13 s",
                    unit="s",
                    ours=overhead_s(ours_waited, durations),
                    peer=overhead_s(theirs_waited, durations),
                    budget=most,
                    is_ratio=True,
                ),
                Row(what="wall time where Azure takes none", unit="s", ours=wall_s(ours), peer=wall_s(theirs)),
                Row(what="CPU time", unit="s", ours=cpu_s(ours), peer=cpu_s(theirs)),
                Row(what="requests without polls", ours=sent(ours), peer=sent(theirs), budget=40),
                Row(what="polls of 8 to 13 s", ours=polls(ours_waited), peer=polls(theirs_waited)),
                Row(what="through the runner", unit="kB", ours=kilobytes(ours), peer=kilobytes(theirs), budget=1000),
                Row(what="modules of mlflow imported", ours=len(imported), budget=0),
            ],
            peer=peer,
        )
    again, core = found["again"], found[_CORE]
    print_table(
        "the same once more: `unchanged`, where the peer deploys anew",
        [
            Row(what="wall time", unit="s", ours=wall_s(again), peer=wall_s(core)),
            Row(what="requests", ours=sent(again), peer=sent(core), budget=24),
        ],
        peer=_CORE,
    )


def _round(here: Stand, found: defaultdict[str, list[Measured]], provisioning_s: float) -> None:
    here.reset(provisioning_s=provisioning_s)
    found["ours"].append(here.ours(wants="healthy", target="aci", run_id=here.run_id))
    if not provisioning_s:
        found["again"].append(here.ours(wants="unchanged", target="aci", run_id=here.run_id))
    here.reset(provisioning_s=provisioning_s)
    found[_CORE].append(here.peer("azureml_core", *place(), here.run_id, SERVICE))
    here.reset(provisioning_s=provisioning_s)
    found[_PLUGIN].append(here.peer("mlflow_plugin", Shelf(here.azure.cloud).tracking_uri, here.run_id, SERVICE))


if __name__ == "__main__":
    main()
