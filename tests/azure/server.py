"""The emulator as a whole: door, rooms, faults and contract around one Cloud. What a test starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.azure import github, openapi, rooms, world
from tests.azure.authority import Authority
from tests.azure.clock import Clock
from tests.azure.faults import Plan
from tests.azure.messages import Delivery, Refusal, Request, Response
from tests.azure.openapi import Contract
from tests.azure.proxy import Proxy
from tests.azure.routing import Match, NoMatch, Room, Router
from tests.azure.state import Cloud, Failure
from tests.azure.trace import Exchange

_PORTS = {"https": 443, "http": 80}

# Read when this is imported: later this process may have been given environment() itself.
_OUTER_AUTHORITIES = Path(
    os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
)


class Emulator:
    """One per test session; reset() before each test, assert_clean() after it.

    with Emulator() as azure:
        subprocess.run(command, env={**clean, **azure.environment()})
        azure.assert_clean()
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rooms: Iterable[Room] = rooms.ROOMS,
        passes: Callable[[str], bool] = lambda host: False,
    ) -> None:
        """`host` is the address it listens on. `passes` tells of a host that is none of the cloud's and is to be reached all the
        same, such as a package index: its connections are passed through unread.
        """
        self._is_own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="tests-azure-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cloud = Cloud(self.folder, clock=clock)
        self.router = Router(rooms)
        wire = openapi.wire_folder()
        # None: the OpenAPI files are not here, and nothing is checked against them.
        self.contract = Contract(wire) if wire else None
        self.authority = Authority(self.folder / "ca.pem")
        self._door = _Door(self)
        self.passes = passes
        self._proxy = Proxy(self._door, self.authority, host=host, port=port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._proxy.port}"

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    def start(self) -> Self:
        self._proxy.start()
        return self

    def stop(self) -> None:
        self._proxy.stop()
        self.cloud.close()
        if self._is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def reset(self, *, clock: Clock | None = None) -> Cloud:
        """The cloud as at the beginning; the same value, so a test may hold on to it."""
        self.cloud.reset(clock=clock)
        return self.cloud

    def assert_clean(self) -> None:
        """Fails when a host was refused, a route was missing, a handler crashed or an exchange broke the contract."""
        if failures := self.cloud.failures:
            raise AssertionError("the emulator saw what no test may overlook:\n" + "\n".join(map(str, failures)))

    def write_authorities(self, path: Path) -> Path:
        """A file with this machine's own authorities and the emulator's, for clients that also reach a host that `passes`."""
        own = _OUTER_AUTHORITIES.read_text() if _OUTER_AUTHORITIES.is_file() else ""
        path.write_text(own + self.ca_file.read_text())
        return path

    def environment(self, authorities: Path | None = None) -> dict[str, str]:
        """What a client's environment needs, credentials aside. HOME is the caller's to choose: caches leak there.

        `authorities` is the file of those to trust: without it, the emulator's alone.
        Nothing else that names a proxy may stand in it: see unwanted_variables().
        """
        ca_file = str(authorities or self.ca_file)
        return {
            "HTTPS_PROXY": self.url,
            "https_proxy": self.url,
            "HTTP_PROXY": self.url,
            "http_proxy": self.url,
            "REQUESTS_CA_BUNDLE": ca_file,
            "SSL_CERT_FILE": ca_file,
            "CURL_CA_BUNDLE": ca_file,
            "AZUREML_DEFAULT_BACKOFF": "0",
            "AZUREML_DEFAULT_RETRIES": "1",
            "AZUREML_DEFAULT_500_BACKOFF": "0",
            "AZUREML_DEFAULT_503_BACKOFF": "0",
            "AZUREML_CURRENT_CLOUD": "AzureCloud",
            "AZUREML_LOG_DEPRECATION_WARNING_ENABLED": "False",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        }

    @staticmethod
    def credentials() -> dict[str, str]:
        """The default principal's, for EnvironmentCredential and the like, and a job's on GitHub."""
        return {
            "AZURE_TENANT_ID": world.TENANT_ID,
            "AZURE_CLIENT_ID": world.CLIENT_ID,
            "AZURE_CLIENT_SECRET": world.CLIENT_SECRET,
            "AZURE_SUBSCRIPTION_ID": world.SUBSCRIPTION_ID,
            "GITHUB_TOKEN": world.GITHUB_TOKEN,
            "GITHUB_REPOSITORY": world.GITHUB_REPOSITORY,
            "ACTIONS_ID_TOKEN_REQUEST_URL": github.OIDC_REQUEST_URL,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": world.OIDC_REQUEST_TOKEN,
        }


UNWANTED_VARIABLES = ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR")


class _Door:
    """What the proxy asks: admits known hosts, and takes each request past faults, room and contract."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    @property
    def _cloud(self) -> Cloud:
        return self._emulator.cloud

    def admit(self, scheme: str, host: str, port: int) -> Response | None:
        if fault := self._cloud.faults.unreachable(host):
            return Response.text(fault.message, status=502)
        if port == _PORTS[scheme] and self._emulator.router.knows_host(scheme, host):
            return None
        text = f"{scheme}://{host}:{port} is no host of the emulated cloud"
        self._cloud.fail("refused-host", text)
        return Response.text(f"tests.azure: {text}\n", status=502)

    def passes(self, host: str) -> bool:
        return not self._emulator.router.knows_host("https", host) and self._emulator.passes(host)

    def begin(self) -> int:
        return self._cloud.trace.begin()

    def end(self, number: int) -> None:
        self._cloud.trace.end(number)

    def answer(self, request: Request) -> Delivery:
        exchange = self._cloud.trace.asked(request)
        plan = self._cloud.faults.plan(request)
        exchange.faults = plan.names
        if plan.delay_s:
            time.sleep(plan.delay_s)
        try:
            delivery = plan.instead(request) or self._delivered(request, exchange, plan)
        except Exception as error:  # noqa: BLE001  # the test must hear of it, and the client too
            delivery = Delivery(response=self._crashed(request, exchange.route or "tests.azure", error))
        self._cloud.trace.answered(exchange, delivery.response)
        return delivery

    def _delivered(self, request: Request, exchange: Exchange, plan: Plan) -> Delivery:
        response = self._dispatch(request, exchange)
        delivery = plan.apply(request, response)
        if delivery.response.body is not response.body:
            # A fault gives another answer in its place.
            response.close()
        return delivery

    def _dispatch(self, request: Request, exchange: Exchange) -> Response:
        found = self._emulator.router.resolve(request)
        if isinstance(found, NoMatch):
            return self._unmatched(request, found)
        exchange.room, exchange.route = found.route.room, str(found.route)
        response = self._handled(request, found)
        self._check_contract(request, response)
        return response

    def _unmatched(self, request: Request, found: NoMatch) -> Response:
        if found.lacks_api_version:
            message = "The api-version query parameter (?api-version=) is required for all requests."
            return Response.json({"error": {"code": "MissingApiVersionParameter", "message": message}}, status=400)
        if found.known_versions:
            message = f"The api-version '{request.api_version}' is invalid. The supported versions are '{','.join(found.known_versions)}'."
            return Response.json({"error": {"code": "InvalidApiVersionParameter", "message": message}}, status=400)
        self._cloud.fail("not-implemented", found.reason, request.number)
        return Response.json({"error": {"code": "NotEmulated", "message": f"tests.azure: {found.reason}"}}, status=501)

    def _handled(self, request: Request, found: Match) -> Response:
        guard: contextlib.AbstractContextManager[object] = (
            contextlib.nullcontext() if found.route.slow else self._cloud.lock
        )
        try:
            with guard:
                return found.route.handler(request, found.params, self._cloud)
        except Refusal as refusal:
            return refusal.response
        except Exception as error:  # noqa: BLE001  # the test must hear of it, whatever it is
            return self._crashed(request, str(found.route), error)

    def _crashed(self, request: Request, place: str, error: Exception) -> Response:
        text = f"{place}: {type(error).__name__}: {error}"
        told = "".join(traceback.format_exception(error))
        self._cloud.fail("emulator-error", f"{text}\n{told}", request.number)
        return Response.json({"error": {"code": "EmulatorError", "message": text}}, status=500)

    def _check_contract(self, request: Request, response: Response) -> None:
        if self._emulator.contract is None or response.status in {500, 501}:
            return
        for deviation in self._emulator.contract.check(request, response):
            self._cloud.fail("contract", str(deviation), request.number)


__all__ = ["UNWANTED_VARIABLES", "Cloud", "Emulator", "Failure"]
