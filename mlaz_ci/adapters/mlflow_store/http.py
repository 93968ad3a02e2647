"""Requests to an MLflow server: credentials, bounded retries, and every bad answer as an error of the catalogue."""

from __future__ import annotations

import configparser
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.auth import AuthBase
from requests.models import PreparedRequest

from mlaz_ci.adapters.mlflow_store.location import masked
from mlaz_ci.adapters.mlflow_store.records import Missing, TooLarge
from mlaz_ci.errors import InvalidInput, MlazError, TrackingAccessDenied, TrackingServerFailed

JSON_LIMIT_BYTES = 32 * 1024 * 1024
RETRIES = 3
BACKOFF_S = 0.5
LONGEST_PAUSE_S = 15.0
TIMEOUT_S = 30.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_MISSING_CODES = frozenset({"RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND"})


class _Authorization(AuthBase):
    """Set as an auth object, so that requests does not put a netrc entry in its place and drops it on a foreign redirect."""

    def __init__(self, header: str | None) -> None:
        self._header = header

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request


class Server:
    """One MLflow server. `get`/`post` return the parsed JSON object; `open` and `put` are for artifacts."""

    def __init__(self, uri: str, environ: Mapping[str, str]) -> None:
        parts = urlsplit(uri)
        self.address = (
            parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")
        )
        user, password, token = _credentials(uri, environ)
        self._secrets = tuple(secret for secret in (password, token) if secret)
        self._timeout_s = _number(environ, "MLFLOW_HTTP_REQUEST_TIMEOUT", TIMEOUT_S)
        self._retries = int(_number(environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES))
        self._backoff_s = _number(environ, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", BACKOFF_S)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "mlaz-ci"
        if user and password:
            self._session.auth = requests.auth.HTTPBasicAuth(user.encode(), password.encode())
        elif token:
            self._session.auth = _Authorization(f"Bearer {token}")
        self._verify: bool | str = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
        if environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
            self._verify = False
        self._session.cert = environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None

    def get(self, path: str, parameters: Mapping[str, str], *, is_optional: bool = False) -> dict[str, Any]:
        """`is_optional`: older servers lack this part of the API, and say so by a 404 of any form."""
        return self._ask("GET", path, is_optional=is_optional, params=parameters)

    def post(self, path: str, body: Mapping[str, Any], *, is_optional: bool = False) -> dict[str, Any]:
        return self._ask("POST", path, is_optional=is_optional, json=body)

    def open(self, path: str) -> requests.Response:
        """A streaming response; close it. Errors of the body's own stream are the reader's: see `read_failed`."""
        return self._send("GET", path)

    def put(self, path: str, content: bytes) -> None:
        self._send("PUT", path, data=content).close()

    def read(self, response: requests.Response, limit_bytes: int) -> bytes:
        content = bytearray()
        try:
            for chunk in response.iter_content(64 * 1024):
                content += chunk
                if len(content) > limit_bytes:
                    raise TooLarge(response.url)
        except requests.RequestException as error:
            raise self.unreachable(error) from error
        return bytes(content)

    def unreachable(self, error: Exception) -> TrackingServerFailed:
        reason = masked(_innermost(error), *self._secrets)
        return TrackingServerFailed(
            f"The tracking server {self.address} cannot be reached: {reason}.",
            upstream_code=type(error).__name__,
        )

    def _ask(self, method: str, path: str, *, is_optional: bool, **arguments: Any) -> dict[str, Any]:
        try:
            with self._send(method, path, **arguments) as response:
                return self._json(response)
        except Missing as error:
            if error.upstream_code is None and not is_optional:
                raise self._not_mlflow("404 Not Found, in a form that is not MLflow's,") from error
            raise

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        attempt = 0
        while True:
            try:
                response = self._session.request(
                    method,
                    self.address + path,
                    timeout=self._timeout_s,
                    stream=True,
                    verify=self._verify,
                    **arguments,
                )
            except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
                raise InvalidInput(f'`tracking-uri` "{self.address}" is not an address that can be asked.') from error
            except requests.RequestException as error:
                if attempt >= self._retries or _is_final(error):
                    raise self.unreachable(error) from error
                pause_s = self._pause_s(attempt, None)
            else:
                if response.status_code not in _TRANSIENT or attempt >= self._retries:
                    return self._checked(response)
                pause_s = self._pause_s(attempt, response.headers.get("Retry-After"))
                response.close()
            time.sleep(pause_s)
            attempt += 1

    def _pause_s(self, attempt: int, retry_after: str | None) -> float:
        pause_s: float = self._backoff_s * 2.0**attempt * random.uniform(0.75, 1.25)  # noqa: S311 (spreads load, guards nothing)
        if retry_after and retry_after.isascii() and retry_after.isdigit():
            pause_s = max(pause_s, float(retry_after[:6]))
        return min(pause_s, LONGEST_PAUSE_S)

    def _checked(self, response: requests.Response) -> requests.Response:
        if response.status_code < 300:
            return response
        with response:
            raise self._refusal(response)

    def _refusal(self, response: requests.Response) -> MlazError | Missing:
        status = response.status_code
        code, message = self._explanation(response)
        said = f"{self.address} answered {status} {response.reason or ''}".rstrip() + (
            f": {message}" if message else ""
        )
        if status in {401, 403} or code in {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}:
            return TrackingAccessDenied(f"The tracking server {said}.", upstream_code=code or str(status))
        if code in _MISSING_CODES or code == "INVALID_PARAMETER_VALUE":
            return Missing(message, code)
        if status == 404:
            return Missing(f"{said} (not in the words of an MLflow server)", None)
        return TrackingServerFailed(f"The tracking server {said}.", upstream_code=code or str(status))

    def _explanation(self, response: requests.Response) -> tuple[str | None, str]:
        """MLflow's error_code and message, or what can be said of an answer that is not MLflow's."""
        try:
            content = self.read(response, 64 * 1024)
        except (TooLarge, TrackingServerFailed):
            return None, ""
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            is_page = "html" in response.headers.get("Content-Type", "").lower()
            return None, "a web page, not MLflow's JSON" if is_page else ""
        if not isinstance(answer, dict):
            return None, ""
        code = answer.get("error_code")
        return (str(code) if code else None), masked(str(answer.get("message", ""))[:500], *self._secrets).rstrip(".")

    def _json(self, response: requests.Response) -> dict[str, Any]:
        try:
            answer = json.loads(self.read(response, JSON_LIMIT_BYTES))
        except TooLarge as error:
            raise self._not_mlflow("more than 32 MB of text") from error
        except (ValueError, RecursionError) as error:
            is_page = "html" in response.headers.get("Content-Type", "").lower()
            raise self._not_mlflow("a web page" if is_page else "something that is not JSON") from error
        if not isinstance(answer, dict):
            raise self._not_mlflow("JSON that is not an object")
        return answer

    def _not_mlflow(self, what: str) -> TrackingServerFailed:
        return TrackingServerFailed(
            f"The tracking server {self.address} answered {what} where MLflow's JSON was expected.",
            usually="Something else answers at that address: a login page, a proxy, or the server under another path prefix.",
            remedy="Open the address in a browser and check `tracking-uri`, its path prefix and the credentials.",
        )


def _credentials(uri: str, environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """User, password, token: the user info of the URI (which requests lets win under mlflow too), MLflow's variables, its file."""
    from_file = configparser.ConfigParser(interpolation=None)
    path = Path(environ["HOME"]) / ".mlflow" / "credentials" if environ.get("HOME") else None
    if path is not None and path.is_file():
        try:
            from_file.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                f"MLflow's credentials file {path} cannot be read.",
                usually="It is not in the INI form that MLflow takes.",
                remedy="Correct it, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
            ) from error
    parts = urlsplit(uri)

    def find(name: str) -> str | None:
        return environ.get(name) or from_file.get("mlflow", name.lower(), fallback="") or None

    return (
        unquote(parts.username or "") or find("MLFLOW_TRACKING_USERNAME"),
        unquote(parts.password or "") or find("MLFLOW_TRACKING_PASSWORD"),
        environ.get("MLFLOW_TRACKING_TOKEN") or None,
    )


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        return max(0.0, float(environ[name])) if environ.get(name) else default
    except ValueError as error:
        raise InvalidInput(f"{name} is not a number.", remedy="Correct the variable, or unset it.") from error


def _is_final(error: requests.RequestException) -> bool:
    """A certificate or a malformed proxy does not get better by asking again."""
    return isinstance(error, (requests.exceptions.SSLError, requests.exceptions.InvalidProxyURL))


def _innermost(error: BaseException) -> str:
    """urllib3 wraps the reason several times; people need the last one: "Connection refused", "Name or service not known"."""
    seen: set[int] = set()
    current: BaseException = error
    while id(current) not in seen:
        seen.add(id(current))
        reason = getattr(current, "reason", None) or (current.args[0] if current.args else None)
        following = reason if isinstance(reason, BaseException) else current.__cause__ or current.__context__
        if following is None:
            break
        current = following
    return str(current).rstrip(".") or type(current).__name__
