"""What a step costs in requests, counted at the proxy: the whole program as a step starts it, the store's requests and the tokens' among them."""

from __future__ import annotations

import re
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure import world
from tests.azure.backends import Serving
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.online import asked, last
from tests.integration.azure.store.models import Shelf
from tests.integration.azure.test_five_targets import Step, is_an_index

SIGN_IN = ["GET github/idtoken", "POST entra/token"]
STORE = [
    "GET mlflow/runs/get",
    # MLmodel, requirements.txt, conda.yaml and the serving example, by their names.
    *["GET artifact/content"] * 4,
    "GET mlflow/experiments/get",
]
LOCK_KEPT = ["POST artifact/content", "POST mlflow/runs/set-tag"]
ROOM = ["GET arm/permissions", "GET arm/usages"]
# The endpoint and its deployments afresh, the write, and the look whether it holds.
SHIFT = ["GET arm/endpoint", "GET arm/deployments", "PUT arm/endpoint", "GET arm/endpoint"]
# A wait looks at the thing itself: these found it settled, after those that found it under way.
ENDS_OF_WAITS = ["GET arm/endpoint", "GET arm/deployment"]
FIRST = [
    *SIGN_IN,
    "GET arm/workspace",
    *STORE,
    "GET arm/endpoint",
    *ROOM,
    "PUT arm/endpoint",
    *("GET arm/model/versions", "PUT arm/model/version"),
    *("GET arm/environment", "PUT arm/environment"),
    *("GET arm/code", "POST arm/code/startPendingUpload", "PUT blob/score.py", "PUT arm/code"),
    "PUT arm/deployment",
    *("POST arm/endpoint/listKeys", "POST endpoint/score"),
    *SHIFT,
    *LOCK_KEPT,
    *ENDS_OF_WAITS,
]
UNCHANGED = [*SIGN_IN, "GET arm/workspace", *STORE, "GET artifact/content", "GET arm/endpoint", "GET arm/deployments"]
REPLACE = [
    *SIGN_IN,
    "GET arm/workspace",
    *STORE,
    *("GET arm/endpoint", "GET arm/deployments"),
    *ROOM,
    *("GET arm/model/versions", "GET arm/model", "PUT arm/model/version"),
    *("GET arm/environment", "GET arm/code"),
    # Of the one that serves: its size, and what Azure Monitor holds of it.
    *("GET arm/deployment", "GET arm/diagnosticSettings", "GET arm/autoscalesettings"),
    "PUT arm/deployment",
    *("POST arm/endpoint/listKeys", "POST endpoint/score"),
    *SHIFT,
    "POST endpoint/score",
    *("GET arm/endpoint", "DELETE arm/deployment"),
    *LOCK_KEPT,
    "GET arm/deployment",
]
CLEANUP = [*SIGN_IN, *("GET arm/endpoint", "GET arm/deployments", "DELETE arm/endpoint", "GET arm/endpoint")]

_SHAPES = [
    (r".*\.actions\.githubusercontent\.com/.*/idtoken/.*", "github/idtoken"),
    (r"login\.microsoftonline\.com/.*/token", "entra/token"),
    (r".*\.inference\.ml\.azure\.com/(\w+)", r"endpoint/\1"),
    (r".*\.blob\.core\.windows\.net/.*/([^/]+)", r"blob/\1"),
    (r".*\.api\.azureml\.ms/mlflow/.*/mlflow/(.+)", r"mlflow/\1"),
    (r".*\.api\.azureml\.ms/history/.*/artifacts/(.+)", r"history/artifacts/\1"),
    (r".*\.api\.azureml\.ms/artifact/.*/(\w+)", r"artifact/\1"),
    (r"management\.azure\.com/.*/(permissions|usages|diagnosticSettings|autoscalesettings)", r"arm/\1"),
    (rf"management\.azure\.com{re.escape(world.WORKSPACE_SCOPE)}", "arm/workspace"),
    (r"management\.azure\.com/.*/onlineEndpoints/[^/]+/deployments", "arm/deployments"),
    (r"management\.azure\.com/.*/onlineEndpoints/[^/]+/deployments/[^/]+", "arm/deployment"),
    (r"management\.azure\.com/.*/(?:online)?(Endpoint|endpoint|model|environment|code)s/[^/]+", r"arm/\1"),
    (r"management\.azure\.com/.*/models/[^/]+/versions", "arm/model/versions"),
    (r"management\.azure\.com/.*/models/[^/]+/versions/[^/]+", "arm/model/version"),
    (r"management\.azure\.com/.*/(environment|code)s/[^/]+/versions/[^/]+", r"arm/\1"),
    (r"management\.azure\.com/.*/(?:online)?(Endpoint|code)s/[^/]+/(?:versions/[^/]+/)?(\w+)", r"arm/\1/\2"),
]


def shape_of(method: str, place: str) -> str:
    for pattern, name in _SHAPES:
        if found := re.fullmatch(pattern, place):
            return f"{method} {found.expand(name).replace('Endpoint', 'endpoint')}"
    return f"{method} {place}"


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(passes=is_an_index) as emulator:
        yield emulator


@pytest.fixture
def step(azure: Emulator, tmp_path: Path) -> Step:
    azure.cloud.live(Serving).echoes = True
    (tmp_path / "user").mkdir()
    return Step(azure, tmp_path, azure.write_authorities(tmp_path / "certificates.pem"))


def cpu_s() -> float:
    """Of the steps that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def asked_by(step: Step, cloud: CloudState, status: str, **inputs: str) -> list[str]:
    since = last(cloud)
    ended = step.run(target="managed", **inputs)
    assert ended.outputs.get("status") == status, ended.log
    return [shape_of(each.method, f"{each.host}{each.path}") for each in asked(cloud, since)]


def assert_equal(found: list[str], expected: list[str]) -> None:
    """In any order: what needs nothing of each other goes at once."""
    assert (Counter(found) - Counter(expected), Counter(expected) - Counter(found)) == (Counter(), Counter())


def test_requests__of_a_service_from_its_first_deploy_to_its_end(step: Step, cloud: CloudState) -> None:
    runs = [Shelf(cloud).log_model().id for _ in range(2)]
    first = asked_by(step, cloud, "healthy", run_id=runs[0])
    unchanged = asked_by(step, cloud, "unchanged", run_id=runs[0])
    replace = asked_by(step, cloud, "healthy", run_id=runs[1])
    began_s = cpu_s()
    cleanup = asked_by(step, cloud, "deleted", command="cleanup")
    of_cleanup_s = cpu_s() - began_s
    print(
        f"\nrequests, polls excluded: first deploy {len(first) - len(ENDS_OF_WAITS)}, unchanged {len(unchanged)}, ",
        end="",
    )
    print(f"replace {len(replace) - 1}, cleanup {len(cleanup)}")
    assert_equal(first, FIRST)
    assert_equal(unchanged, UNCHANGED)
    assert_equal(replace, REPLACE)
    assert_equal(cleanup, CLEANUP)
    assert len(first) - len(ENDS_OF_WAITS) <= 30
    assert len(unchanged) <= 16
    assert len(cleanup) <= 8
    print(f"cleanup: {of_cleanup_s:.2f} s of CPU for the whole process, its report included")
    assert of_cleanup_s <= 1.0
