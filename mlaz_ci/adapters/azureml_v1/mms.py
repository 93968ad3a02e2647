"""Model management's REST, as far as we speak it ourselves: services, operations, models, assets. It gives plain JSON.

Paths and members are those of Microsoft's modelManagement.json (2019-09-30) and of azureml-core's own requests. No api-version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from mlaz_ci.adapters.azure_wire import Answer, WorkspaceDoor
from mlaz_ci.errors import MlazError, ServiceNotFound

_MAX_PAGES: Final = 100
_JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}

Payload = Mapping[str, Any]


class ModelManagement:
    """Every call raises what Azure's refusal means; `None` and `False` say that something is not there."""

    def __init__(self, door: WorkspaceDoor) -> None:
        self._door = door

    def _ask(self, method: str, below: str, *, doing: str, **options: Any) -> Answer:
        return self._door.regional(method, "modelmanagement", "/modelmanagement/v1.0", below, doing=doing, **options)

    # --- services ---------------------------------------------------------------------------------------------------

    def service(self, name: str, *, expands: bool = False) -> Payload | None:
        """With `expands` the models and the image request too, where the service tells it: a lock makes it 200 KB long."""
        doing = f'read the service "{name}"'
        below = f"/services/{quote(name)}{'?expand=true' if expands else ''}"
        answer = self._ask("GET", below, doing=doing, allowed={404})
        return None if answer.status == 404 else answer.object

    def service_names(self) -> Sequence[str]:
        return [str(each.get("name")) for each in self._pages("/services?count=255", doing="list the services")]

    def name_objection(self, name: str) -> str:
        """What Azure has against a new service of that name; "" for nothing, and where it does not say."""
        doing = f'ask whether a service may be called "{name}"'
        below = f"/services/validate/name/{quote(name)}"
        try:
            told = self._ask("POST", below, doing=doing, body={}, repeatable=True).object.get("error")
        except MlazError:
            # What is amiss is told again by what comes next.
            return ""
        return str(told.get("message") or "") if isinstance(told, dict) else ""

    def create_service(self, body: Payload, *, doing: str) -> str | None:
        """The id of the operation that makes it. Raises EffectUnknown where the answer was lost: whoever calls looks first."""
        return operation_id(self._ask("POST", "/services", doing=doing, body=dict(body)))

    def patch_service(self, name: str, operations: Sequence[Payload], *, doing: str) -> str | None:
        """The id of the operation that was begun; None where the change is through already."""
        answer = self._ask(
            "PATCH",
            f"/services/{quote(name)}",
            doing=doing,
            body=list(operations),
            headers=_JSON_PATCH,
            # The same members set to the same values: twice does no more than once.
            repeatable=True,
        )
        return operation_id(answer)

    def delete_service(self, name: str) -> tuple[bool, str | None]:
        """(whether it was there, the operation that deletes it)."""
        answer = self._ask("DELETE", f"/services/{quote(name)}", doing=f'delete the service "{name}"', allowed={404})
        return answer.status not in {204, 404}, operation_id(answer)

    def keys(self, name: str) -> Mapping[str, str]:
        """`primaryKey` and `secondaryKey`; whoever calls masks them."""
        doing = f'read the keys of the service "{name}"'
        told = self._ask("POST", f"/services/{quote(name)}/listkeys", doing=doing, repeatable=True).object
        return {str(each): str(value) for each, value in told.items() if value}

    def set_key(self, name: str, which: str, value: str) -> None:
        """`which` is Primary or Secondary."""
        doing = f'set the {which.lower()} key of the service "{name}"'
        body = {"keyType": which, "keyValue": value}
        self._ask("POST", f"/services/{quote(name)}/regenerateKeys", doing=doing, body=body, repeatable=True)

    def token(self, name: str) -> str:
        """An access token for the service's callers, good for hours; whoever calls masks it."""
        doing = f'get a token for the service "{name}"'
        return str(
            self._ask("POST", f"/services/{quote(name)}/token", doing=doing, repeatable=True).object["accessToken"]
        )

    def container_log(self, name: str, *, tail_lines: int) -> str:
        doing = f'read the log of the service "{name}"'
        answer = self._ask("GET", f"/services/{quote(name)}/logs?tail={tail_lines}&init=False", doing=doing)
        return str(answer.object.get("content") or "")

    def operation(self, identifier: str, *, offset: int) -> Payload:
        """`offset` is how many characters of the streaming log are known already."""
        below = f"/operations/{quote(identifier)}?offset={offset}"
        return self._ask("GET", below, doing="read how far the deployment is").object

    # --- models ------------------------------------------------------------------------------------------------------

    def models(self, **query: str) -> Iterator[Payload]:
        """Newest first. `query`: name, runId, properties ("key=value")."""
        return self._pages(f"/models?{urlencode({'count': '255', **query})}", doing="list the registered models")

    def asset_prefix(self, model: Payload) -> str:
        """Where the bytes of a model lie, as its artifacts' prefix; "" where that is not told."""
        url = str(model.get("url") or "")
        if url.startswith("aml://artifact/"):
            return url.removeprefix("aml://artifact/").strip("/")
        if not url.startswith("aml://asset/"):
            return ""
        doing = "read where a registered model lies"
        answer = self._ask("GET", f"/assets/{quote(url.removeprefix('aml://asset/'))}", doing=doing, allowed={404})
        artifacts = answer.object.get("artifacts") if answer.status != 404 else None
        first = artifacts[0] if isinstance(artifacts, list) and artifacts else {}
        return str(first.get("prefix") or first.get("id") or "").strip("/")

    def create_asset(self, name: str, prefix: str, run_id: str | None) -> str:
        """Its id. One that no model names is seen by nobody, so a lost answer is asked for again."""
        body = {"name": name, "artifacts": [{"prefix": prefix}], **({"runid": run_id} if run_id else {})}
        answer = self._ask("POST", "/assets", doing=f'register the files of "{name}"', body=body, repeatable=True)
        return str(answer.object["id"])

    def create_model(self, body: Payload) -> Payload:
        """Raises EffectUnknown where the answer was lost: whoever calls looks for the model first."""
        return self._ask("POST", "/models", doing=f'register the model "{body["name"]}"', body=body).object

    def tag_model(self, identifier: str, tags: Mapping[str, str]) -> None:
        doing = f'tag the model "{identifier}"'
        changes = [{"op": "replace", "path": "/kvTags", "value": dict(tags)}]
        below = f"/models/{quote(identifier, safe='')}"
        self._ask("PATCH", below, doing=doing, body=changes, headers=_JSON_PATCH, repeatable=True)

    def model(self, identifier: str) -> Payload | None:
        doing = f'read the model "{identifier}"'
        answer = self._ask("GET", f"/models/{quote(identifier, safe='')}", doing=doing, allowed={404})
        return None if answer.status == 404 else answer.object

    def delete_model(self, identifier: str) -> Answer:
        doing = f'delete the model "{identifier}"'
        return self._ask("DELETE", f"/models/{quote(identifier, safe='')}", doing=doing, allowed={404, 412})

    def _pages(self, below: str, *, doing: str) -> Iterator[Payload]:
        answer = self._ask("GET", below, doing=doing).object
        for _ in range(_MAX_PAGES):
            yield from (each for each in answer.get("value") or () if isinstance(each, dict))
            link = urlsplit(str(answer.get("nextLink") or ""))
            if not link.query:
                return
            # Only the query is taken from the link: the token goes where discovery said, whatever an answer says.
            answer = self._ask("GET", f"{below.partition('?')[0]}?{link.query}", doing=doing).object


def operation_id(answer: Answer) -> str | None:
    location = answer.headers.get("operation-location", "")
    return location.rstrip("/").rpartition("/")[2].partition("?")[0] or None


def require(service: Payload | None, name: str) -> Payload:
    if service is None:
        raise ServiceNotFound(f'There is no service "{name}" in the workspace.')
    return service
