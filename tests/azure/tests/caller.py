"""A plain caller of ARM: one principal's token, one api-version, JSON in and out."""

from __future__ import annotations

from typing import Any

import requests

from tests.azure import world

ARM = "https://management.azure.com"
WORKSPACE = world.WORKSPACE_SCOPE


def token(http: requests.Session, scope: str = "https://management.azure.com/.default") -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": world.CLIENT_ID,
        "client_secret": world.CLIENT_SECRET,
        "scope": scope,
    }
    answer = http.post(f"https://login.microsoftonline.com/{world.TENANT_ID}/oauth2/v2.0/token", data=form, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


class Caller:
    """Paths that do not begin with /subscriptions lie below the default workspace."""

    def __init__(self, http: requests.Session, version: str = "2024-04-01") -> None:
        self.http = http
        self.version = version
        self.headers = {"Authorization": f"Bearer {token(http)}"}

    def ask(self, method: str, path: str, body: Any = None, *, version: str | None = None) -> requests.Response:
        place = path if path.startswith("/subscriptions") else f"{WORKSPACE}{path}"
        joint = "&" if "?" in place else "?"
        url = f"{ARM}{place}{joint}api-version={version or self.version}"
        return self.http.request(method, url, json=body, headers=self.headers, timeout=60)

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.ask("GET", path, **more)

    def put(self, path: str, body: Any, **more: Any) -> requests.Response:
        return self.ask("PUT", path, body, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.ask("POST", path, body, **more)

    def patch(self, path: str, body: Any, **more: Any) -> requests.Response:
        return self.ask("PATCH", path, body, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        return self.ask("DELETE", path, **more)

    def settle(self, answer: requests.Response) -> dict[str, Any]:
        """Polls the operation an answer began until it is over; its last body."""
        assert answer.status_code in {200, 201, 202}, answer.text
        url = answer.headers["Azure-AsyncOperation"]
        status: dict[str, Any] = {}
        for _ in range(50):
            polled = self.http.get(url, headers=self.headers, timeout=30)
            assert polled.status_code == 200, polled.text
            status = polled.json()
            if status["status"] in {"Succeeded", "Failed", "Canceled"}:
                return status
        raise AssertionError(f"the operation never ended: {status}")

    def made(self, path: str, body: Any, **more: Any) -> dict[str, Any]:
        """PUT, settled; the resource as it then is."""
        status = self.settle(self.put(path, body, **more))
        assert status["status"] == "Succeeded", status
        value: dict[str, Any] = self.get(path, **more).json()
        return value


def endpoint_body(**properties: Any) -> dict[str, Any]:
    return {
        "location": world.REGION,
        "tags": {},
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": "Key", **properties},
    }


def deployment_body(*, capacity: int = 1, **properties: Any) -> dict[str, Any]:
    given = {"endpointComputeType": "Managed", "instanceType": "Standard_DS2_v2"} | properties
    return {"location": world.REGION, "tags": {}, "sku": {"name": "Default", "capacity": capacity}, "properties": given}
