"""The recorded exchanges of ARM's rooms, one by one and as whole sequences, put to the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import replay
from tests.azure.tests.player import Player, is_compared
from tests.azure.tests.test_replay_data_plane import ROWS

# Where the emulator departs from a recording on purpose; README.md tells why of each.
EXCUSED: dict[str, tuple[str, ...]] = {}
# The recordings of online endpoints, deployments, models and workspaces that are of these rooms.
CASSETTES = ("test_online_*", "test_endpoint_*", "test_mir_*", "test_model*", "test_workspace*")


def _take_requests_contract(azure: Emulator) -> int:
    """Recorded requests are an older preview's and may break the file whose version they are sent with; answers may not."""
    taken = azure.cloud.take_failures("contract")
    wrong = [failure for failure in taken if ": response" in failure.text]
    assert not wrong, wrong
    return len(taken)


def test_samples__each__agree(
    azure: Emulator, cloud: Cloud, http: requests.Session, wire: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared, excused, wrong = 0, 0, []
    for exchange in replay.samples(wire):
        if not is_compared(exchange):
            continue
        azure.reset()
        found = Player(http, cloud).play(exchange)
        assert found is not None
        compared += 1
        rest = found.without(EXCUSED.get(exchange.origin, ()))
        if rest:
            wrong.append(
                f"{exchange.method} {exchange.below or 'workspace'} {exchange.status} ({exchange.origin}): {rest}"
            )
        elif found:
            excused += 1
        _take_requests_contract(azure)
    with capsys.disabled():
        print(
            f"\n  samples of ARM's rooms: {compared} compared, {compared - excused - len(wrong)} equal, {excused} excused"
        )
    assert not wrong, "\n".join(wrong)
    assert compared >= 36
    assert excused <= 0.05 * compared


def test_samples__of_both_planes__are_most_of_all_that_were_recorded(wire: Path) -> None:
    """Those above are ARM's and the scoring hosts', by `is_compared`; ROWS are the data plane's."""
    recorded = list(replay.samples(wire))
    ours = {number for number, exchange in enumerate(recorded) if is_compared(exchange)}
    assert not ours & set(ROWS)
    assert len(recorded) == 89
    assert len(ours | set(ROWS)) >= 60


@pytest.mark.parametrize("part", [1, 2])
def test_cassettes__as_sequences__agree(  # noqa: PLR0917
    part: int, azure: Emulator, cloud: Cloud, http: requests.Session, wire: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = wire / "cassettes" / "azure-cli-extensions-mlv2"
    files = sorted({path for pattern in CASSETTES for path in folder.glob(f"{pattern}.yaml")})[part - 1 :: 2]
    asked, polls, apart, foreign = 0, 0, [], 0
    for path in files:
        azure.reset()
        player, exchanges = Player(http, cloud), replay.thinned(replay.cassette(path))
        for index, exchange in enumerate(exchanges):
            found = player.play(exchange, exchanges[index + 1 :])
            if found is None:
                foreign += 1
                continue
            asked += 1
            polls += "OperationsStatus" in exchange.path
            if found:
                apart.append(f"{exchange.origin} {exchange.method} {exchange.below or exchange.path}: {found}")
        _take_requests_contract(azure)
    share = 100 * (asked - len(apart)) / asked
    # Most requests are polls, which agree easily: the others alone must reach the bar too.
    apart_but_polls = [line for line in apart if "OperationsStatus" not in line]
    strict = 100 * (1 - len(apart_but_polls) / (asked - polls))
    with capsys.disabled():
        print(
            f"\n  {len(files)} cassettes: {asked} requests, {share:.1f} % agree ({strict:.1f} % without polls), {foreign} of other rooms"
        )
        print("\n".join(f"    {line}" for line in apart))
    assert asked > 300
    assert share >= 90
    assert strict >= 90
