"""How far the data plane's traffic keeps to Microsoft's files: alone, and with what their clients' models add.

Counted over every exchange of the modules below, as they ran: unpatched clients' flows, and every failure and every kind of
service by plain requests. Under pytest-xdist each worker counts, and their counts are added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.azure.messages import Body, Headers, Request, Response
from tests.azure.openapi import Contract
from tests.azure.state import Cloud
from tests.azure.trace import Exchange

TOUR = frozenset(
    {
        "test_azureml_core",
        "test_azure_ai_ml",
        "test_mlflow",
        "test_mlflow_deploy",
        "test_mms_errors",
        "test_mms_serving",
        "test_mms_shapes",
        "test_replay_data_plane",
    }
)
MOST_DEVIATING = 0.05
_HOST = r"\.api\.azureml\.ms$"


@dataclass(slots=True)
class Count:
    modules: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    exchanges: int = 0
    # Exchanges that deviate from the files alone, and from the files with the clients' models.
    alone: int = 0
    extended: int = 0

    def add(self, other: Count) -> None:
        # A worker's sets arrive as lists.
        self.modules.update(other.modules)
        self.operations.update(other.operations)
        self.exchanges += other.exchanges
        self.alone += other.alone
        self.extended += other.extended

    def lines(self) -> list[str]:
        def share(deviating: int) -> str:
            return f"{deviating} with deviations ({100 * deviating / self.exchanges:.1f} %)"

        return [
            f"data plane: {len(self.operations)} operations, {self.exchanges} exchanges validated",
            f"  against the files of 2019-09-30 alone: {share(self.alone)}",
            f"  against them and the clients' own models: {share(self.extended)}",
        ]

    @property
    def is_whole(self) -> bool:
        return self.modules >= TOUR

    @property
    def is_within(self) -> bool:
        return self.extended <= MOST_DEVIATING * self.exchanges


class Measure:
    def __init__(self, wire: Path) -> None:
        self._alone, self._extended = Contract(wire, files_alone=True), Contract(wire)
        self.count = Count()

    def take(self, module: str, cloud: Cloud) -> None:
        """Counts what a test exchanged with the rooms; a fault's answer is no room's."""
        if module not in TOUR:
            return
        self.count.modules.add(module)
        for exchange in cloud.trace.find(host=_HOST, where=_is_rooms):
            for contract in (self._alone, self._extended):
                contract.check(*_again(exchange))
        tally = self._extended.tally
        self.count.operations, self.count.exchanges = tally.operations, tally.exchanges
        self.count.alone, self.count.extended = self._alone.tally.deviating_exchanges, tally.deviating_exchanges


def _is_rooms(exchange: Exchange) -> bool:
    return bool(exchange.room) and not exchange.faults and exchange.status not in {500, 501}


def _again(exchange: Exchange) -> tuple[Request, Response]:
    request = Request(
        method=exchange.method,
        scheme=exchange.scheme,
        host=exchange.host,
        target=exchange.target,
        headers=exchange.request_headers,
        body=Body(exchange.request_body),
    )
    response = Response(
        status=exchange.status, headers=Headers(exchange.response_headers.pairs), body=exchange.response_body
    )
    return request, response
