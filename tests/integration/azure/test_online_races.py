"""Two deploys to one service at once, in orders that the test chooses request by request: traffic names what exists, one of the two serves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mlaz_ci.errors import MlazError, SmokeTestFailed
from mlaz_ci.models import Outcome, Request, Status
from tests.azure.arm import assets
from tests.azure.arm import deployments as deployed
from tests.azure.arm import endpoints as shared
from tests.azure.messages import Request as Asked
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.mortal import Gate, NamedCredential
from tests.integration.azure.online import EP, House, Stage

Choose = Callable[[list[str], dict[str, int]], str]
RANDOM_ORDERS = 24


@dataclass
class Race:
    """Two jobs through one gate. `ends` says what became of each; `seen` what broke a promise on the way."""

    stage: Stage
    azure: Emulator
    monkeypatch: pytest.MonkeyPatch
    ends: dict[str, Outcome | MlazError | BaseException] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    was_served: bool = False

    def run(self, requests: dict[str, Request], choose: Choose) -> None:
        owners: dict[str, str] = {}
        door = self.azure._door
        gate = Gate(door.answer, owners, list(requests), choose, self._look)
        jobs = {name: self._stage_of(name, owners).job(request) for name, request in requests.items()}
        with self.monkeypatch.context() as patch:
            patch.setattr(door, "answer", gate.answer, raising=False)
            threads = [threading.Thread(target=self._job, args=(name, jobs[name], gate)) for name in requests]
            for each in threads:
                each.start()
            for each in threads:
                each.join(120)
                assert not each.is_alive()

    def _stage_of(self, name: str, owners: dict[str, str]) -> Stage:
        credential = NamedCredential(self.stage.sign_in_as(), name, owners)
        return replace(self.stage, sign_in_as=lambda *_: credential)

    def _job(self, name: str, job: Any, gate: Gate) -> None:
        try:
            self.ends[name] = job.run()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.ends[name] = error
        finally:
            gate.ended(name)

    def _look(self, request: Asked) -> None:
        """After every request: no share for what is not there, and whoever was answered once is answered still."""
        cloud = self.stage.cloud
        with cloud.lock:
            endpoint = next(iter(cloud.state(shared.Endpoints).by_key.values()), None)
            if endpoint is None:
                if self.was_served:
                    self.seen.append(f"the endpoint is gone after {request.method} {request.path}")
                return
            there = {one.name for one in cloud.state(deployed.Deployments).of(endpoint)}
            if missing := set(endpoint.traffic) - there:
                self.seen.append(f"{missing} has traffic and is not there, after {request.method} {request.path}")
            is_served = sum(endpoint.traffic.values()) == 100
            if self.was_served and not is_served:
                self.seen.append(f"nobody has traffic after {request.method} {request.path}")
            self.was_served = self.was_served or is_served


@pytest.fixture
def race(stage: Stage, azure: Emulator, monkeypatch: pytest.MonkeyPatch) -> Race:
    return Race(stage=stage, azure=azure, monkeypatch=monkeypatch)


def one_switch(first: str, second: str, after: int) -> Choose:
    """`first` makes so many requests, then `second` all of its own, then `first` the rest."""

    def choose(running: list[str], made: dict[str, int]) -> str:
        wanted = first if made[first] < after else second
        return wanted if wanted in running else running[0]

    return choose


def by_chance(seed: int) -> Choose:
    """Runs of one to six requests of each, so that whole steps fall between two requests of the other."""
    dice = random.Random(seed)
    left = {"name": "", "count": 0}

    def choose(running: list[str], made: dict[str, int]) -> str:
        if left["name"] not in running or not left["count"]:
            left.update(name=dice.choice(running), count=dice.randint(1, 6))
        left["count"] = int(left["count"]) - 1  # type: ignore[call-overload]
        return str(left["name"])

    return choose


def start_over(race: Race, *, is_first: bool) -> None:
    race.stage.arm("DELETE", EP)
    race.stage.cloud.state(assets.Assets).by_key.clear()
    race.ends.clear()
    race.was_served = False
    if not is_first:
        race.stage.deploy("old")


def assert_ended_well(race: Race, label: object) -> None:
    assert race.seen == [], label
    told = {name: repr(end) for name, end in race.ends.items()}
    green = [name for name, end in race.ends.items() if isinstance(end, Outcome)]
    assert green, (label, told)
    # Who came out of date says so, in words of its own, and nothing else went wrong.
    red = [end for end in race.ends.values() if not isinstance(end, Outcome)]
    assert all(getattr(end, "exit_code", None) == 5 for end in red), (label, told)
    there = {
        name: each
        for name, each in race.stage.deployments().items()
        if each["properties"]["provisioningState"] != "Deleting"
    }
    [(name, share)] = race.stage.traffic.items()
    assert share == 100, label
    runs = {"blue": 0, "green": 0}
    served = there[name]["tags"]["mlaz-run-of-test"]
    assert served in runs, label
    assert served in green, (label, told)
    leftover = set(there) - {name}
    assert not leftover, (label, told, leftover)


def both(stage: Stage) -> dict[str, Request]:
    requests = {}
    for name in ("blue", "green"):
        stage.place(name)
        requests[name] = stage.request(name, tags={"mlaz-run-of-test": name})
    return requests


@pytest.mark.parametrize("is_first", [True, False], ids=["first-deploy", "replace"])
def test_two_deploys__by_chance__one_of_them_serves(race: Race, *, is_first: bool) -> None:
    for seed in range(RANDOM_ORDERS):
        start_over(race, is_first=is_first)
        race.run(both(race.stage), by_chance(seed))
        assert_ended_well(race, seed)


@pytest.mark.parametrize("is_first", [True, False], ids=["first-deploy", "replace"])
def test_two_deploys__the_one_between_any_two_requests_of_the_other__one_of_them_serves(
    race: Race, *, is_first: bool
) -> None:
    orders = 0
    for after in range(60):
        start_over(race, is_first=is_first)
        made: dict[str, int] = {}
        choose = one_switch("blue", "green", after)

        def remember(
            running: list[str], counts: dict[str, int], choose: Choose = choose, made: dict[str, int] = made
        ) -> str:
            made.update(counts)
            return choose(running, counts)

        race.run(both(race.stage), remember)
        assert_ended_well(race, after)
        orders += 1
        if made["blue"] <= after:
            break
    print(f"\n{orders} orders of two deploys at once")
    assert orders > 20


def test_two_deploys__one_fails_its_smoke_test__the_other_serves(race: Race, cloud: CloudState) -> None:
    house = House.opened_in(cloud)
    house.statuses["green"] = 500
    for seed in range(6):
        start_over(race, is_first=False)
        for name in ("blue", "green"):
            race.stage.place(name, marker=name)
        race.run({name: race.stage.request(name) for name in ("blue", "green")}, by_chance(seed))
        assert race.seen == []
        assert isinstance(race.ends["green"], SmokeTestFailed | MlazError)
        blue = race.ends["blue"]
        assert isinstance(blue, Outcome), repr(blue)
        assert blue.status is Status.HEALTHY
        assert race.stage.traffic == {blue.deployment_name: 100}
