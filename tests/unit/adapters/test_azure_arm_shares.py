from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from mlaz_ci.adapters.azure_arm.permissions import NEEDED, missing_actions
from mlaz_ci.adapters.azure_arm.seen import Deployment, Endpoint, classify, live_of
from mlaz_ci.adapters.azure_arm.shares import scaled, with_share, without
from mlaz_ci.models import ServiceState

SHARES = some.dictionaries(some.sampled_from("abcdefg"), some.integers(1, 100), min_size=1)


@given(SHARES, some.integers(1, 99))
def test_with_share__any_traffic__sums_to_a_hundred_and_gives_what_was_asked(
    traffic: dict[str, int], percent: int
) -> None:
    result = with_share(scaled(traffic, 100), "new", percent)
    assert sum(result.values()) == 100
    assert result["new"] == percent
    assert all(share > 0 for share in result.values())


@given(SHARES, some.integers(1, 99))
def test_without__what_with_share_gave__is_in_the_others_hands_again(traffic: dict[str, int], percent: int) -> None:
    before = scaled(traffic, 100)
    shared = with_share(before, "new", percent)
    after = without(shared, "new", None, set(shared))
    assert sum(after.values()) == 100
    assert set(after) <= set(before)


def test_with_share__nobody_else__is_all() -> None:
    assert with_share({}, "new", 10) == {"new": 100}
    assert with_share({"new": 100}, "new", 10) == {"new": 100}


def test_without__only_one_with_traffic__goes_to_the_fallback_that_is_there() -> None:
    assert without({"new": 100}, "new", "old", {"old", "new"}) == {"old": 100}
    assert without({"new": 100}, "new", "old", {"new"}) == {}
    assert without({"new": 60, "gone": 40}, "new", "old", {"old"}) == {"old": 100}


def test_classify__words_of_azure() -> None:
    assert classify("Succeeded") is ServiceState.HEALTHY
    assert classify("Canceled") is ServiceState.FAILED
    assert classify("Scaling") is ServiceState.UPDATING
    assert classify("a word of tomorrow") is ServiceState.UPDATING


def _deployment(name: str, day: int, *, ours: bool = True) -> Deployment:
    tags = {"managed-by": "mlaz-ci", "mlaz-owner": "repo:1"} if ours else {}
    return Deployment({"name": name, "tags": tags, "systemData": {"createdAt": f"2026-01-{day:02d}T00:00:00Z"}})


def _endpoint(**traffic: int) -> Endpoint:
    return Endpoint({"name": "churn", "properties": {"traffic": traffic}})


def test_live_of__a_canary_with_most_of_the_traffic__is_still_the_canary() -> None:
    old, new = _deployment("g1", 1), _deployment("g2", 2)
    live = live_of(_endpoint(g1=30, g2=70), [new, old])
    assert live is not None
    assert live.name == "g1"


def test_live_of__two_of_others__is_the_one_with_most() -> None:
    live = live_of(_endpoint(g1=30, g2=70), [_deployment("g1", 1, ours=False), _deployment("g2", 2, ours=False)])
    assert live is not None
    assert live.name == "g2"
    assert live_of(_endpoint(), [_deployment("g1", 1)]) is None


def test_missing_actions__a_roles_own_exceptions_take_from_it_alone() -> None:
    scientist = {
        "actions": [
            "Microsoft.MachineLearningServices/workspaces/*/read",
            "Microsoft.MachineLearningServices/workspaces/*/write",
        ],
        "notActions": ["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write"],
    }
    missing = missing_actions([scientist])
    assert "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write" in missing
    assert "Microsoft.MachineLearningServices/workspaces/models/versions/write" not in missing
    assert missing_actions([scientist, {"actions": ["*"], "notActions": []}]) == ()
    assert missing_actions([]) == NEEDED
