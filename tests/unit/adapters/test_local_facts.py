from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlaz_ci.adapters.local_process.facts import service_facts
from mlaz_ci.adapters.local_process.record import Record
from mlaz_ci.models import ServiceState
from mlaz_ci.serving.manifest import manifest_of, render_manifest
from tests import samples

HOST = "127.0.0.1"

# Answers the health route once, and dies of it before anybody can ask more.
DYING = """
import http.server, json, os, pathlib, signal, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Health)
run = pathlib.Path(sys.argv[1])
started = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
boot_id = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
identity = {"pid": os.getpid(), "started": started, "boot_id": boot_id, "port": server.server_port}
(run / "process.json").write_text(json.dumps(identity))
print("listens", flush=True)
server.serve_forever()
"""


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[Path]:
    """The folder of a service whose live deployment ends in the moment in which it is looked at."""
    folder = tmp_path / "churn"
    run = folder / "g1" / "run"
    run.mkdir(parents=True)
    (run / "ready").write_text("")
    (folder / "g1" / "deployment.json").write_text(
        render_manifest(manifest_of(samples.spec(), created_at=samples.NOON))
    )
    with subprocess.Popen([sys.executable, "-c", DYING, str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield folder
        process.kill()


def test_service_facts__live_one_ends_after_it_answered__tells_that_it_ended(dying: Path) -> None:
    record = Record(name="churn", owner="o", port=1, created_at=samples.NOON, live="g1")
    facts = service_facts(dying, record, HOST)
    assert facts.state is not ServiceState.HEALTHY
    assert facts.detail != "it was started again and does not have its port yet"
