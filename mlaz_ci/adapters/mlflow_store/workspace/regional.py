"""Questions to the workspace's regional services, where a 404 is an answer: that there is no such thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from mlaz_ci.adapters.azure_wire import Answer, WorkspaceDoor
from mlaz_ci.adapters.mlflow_store.records import Missing
from mlaz_ci.errors import AzureUnreachable, RoleMissing, TrackingServerFailed
from mlaz_ci.refusals import read_told
from mlaz_ci.report.text import clip, one_line

_MAX_PAGES = 400
_ROLES = (
    "Give the identity a role on the workspace that reads its runs, models and artifacts: Reader suffices for a deploy's reading, "
    "AzureML Data Scientist also lets the lock be left with the run. A role that was assigned minutes ago may not show yet."
)


class Regional:
    """One service of the workspace, e.g. run history under /history/v1.0. Safe for threads."""

    def __init__(self, door: WorkspaceDoor, service: str, root: str) -> None:
        self._door = door
        self._service = service
        self._root = root

    def ask(
        self, method: str, below: str, *, doing: str, query: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """`options` are Wire.ask's. Every call made here may be sent twice. Raises Missing for 404, and what the door raises."""
        # First: a workspace that is not there must not be taken for a run that is not there.
        self._door.host_of(self._service)
        path = f"{below}?{urlencode(query)}" if query else below
        try:
            answer = self._door.regional(
                method, self._service, self._root, path, doing=doing, repeatable=True, allowed={404}, **options
            )
        except RoleMissing as error:
            raise RoleMissing(
                error.what, remedy=_ROLES, upstream_code=error.upstream_code, correlation_id=error.correlation_id
            ) from error
        if answer.status == 404:
            raise _missing(answer, doing)
        return answer

    def members(self, below: str, *, doing: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Every entry of a collection that is told in pages."""
        asked = dict(query)
        for _ in range(_MAX_PAGES):
            page = self.ask("GET", below, doing=doing, query=asked).object
            entries = page.get("value")
            yield from (each for each in entries or () if isinstance(each, dict))
            token = page.get("continuationToken")
            if not token:
                return
            asked["continuationToken"] = str(token)
        raise TrackingServerFailed(f"Azure could not {doing}: there is no end to the pages of its answer.")


def _missing(answer: Answer, doing: str) -> Exception:
    """What the service says; a page of a proxy says nothing of a run or model."""
    if answer.text.lstrip().startswith("<"):
        shown = one_line(clip(answer.text, 200))
        return AzureUnreachable(f"Azure could not {doing}: a web page answered (404) instead of the service: {shown}")
    told = read_told(answer.text, status=404, headers=answer.headers)
    return Missing(told.sentence, told.code or "404")
