"""One request to Azure: its token, its retries within the deadline, and what its refusal means."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from mlaz_ci.adapters.azure_wire.tokens import TokenSource
from mlaz_ci.errors import AzureUnreachable
from mlaz_ci.ports import Clock
from mlaz_ci.refusals import read_told, refusal_of
from mlaz_ci.report.text import clip, one_line

_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
# Doubling pauses of 0.5 to 30 s: a minute and a half in all. A Retry-After is honoured beyond that, up to the deadline.
_TRIES: Final = 8
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_SHOWN_CHARS: Final = 500
_SIGNATURE: Final = re.compile(r"(\bsig=)[^&\s'\")]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`headers` by lower-case names."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace").removeprefix("\ufeff")

    @property
    def value(self) -> Any:
        """The JSON of the body; None where it is empty. Raises AzureUnreachable for anything else: a proxy's page, half a body."""
        if not self.content.strip():
            return None
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            shown = one_line(clip(self.text, _SHOWN_CHARS))
            raise AzureUnreachable(
                f"Azure's answer ({self.status}) is no JSON; a proxy may have answered instead: {shown}"
            ) from error

    @property
    def object(self) -> Mapping[str, Any]:
        """`value` where only an object makes sense. Raises AzureUnreachable."""
        value = self.value
        if not isinstance(value, dict):
            raise AzureUnreachable(f"Azure's answer ({self.status}) is not the object that was asked for.")
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    method: str
    url: str
    scope: str | None
    body: Any
    content: bytes | None
    headers: Mapping[str, str]


class EffectUnknown(AzureUnreachable):
    """A request that is not repeated blindly got no answer: it may have taken effect. Whoever sent it looks before sending another."""

    @classmethod
    def kind(cls) -> str:
        """For users it is what it is a case of."""
        return AzureUnreachable.kind()


class Wire:
    """Safe for threads. `deadline_s` is a moment of the clock's `now_s`: no pause goes beyond it."""

    def __init__(
        self, credential: TokenSource, clock: Clock, *, deadline_s: float, jitter: random.Random | None = None
    ) -> None:
        self._credential = credential
        self._clock = clock
        self._deadline_s = deadline_s
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._pipelines: dict[str, Any] = {}
        self._lock = threading.Lock()

    def utc_now(self) -> datetime:
        """For what is signed or compared with Azure's times."""
        return self._clock.utc_now()

    def ask(
        self,
        method: str,
        url: str,
        *,
        doing: str,
        scope: str | None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        allowed: Container[int] = (),
    ) -> Answer:
        """The answer, if it is 2xx or its status is `allowed`. `doing` completes "Azure could not …".

        `body` is sent as JSON, `content` as it is. `scope` None sends no token (an address that carries its own signature).
        `repeatable`: whether sending it twice does no more than once; without it, so by the method.
        Raises what the refusal means, AzureUnreachable where there is no answer, EffectUnknown where that matters.
        """
        again = method in _IDEMPOTENT if repeatable is None else repeatable
        asked = _Question(method=method, url=url, scope=scope, body=body, content=content, headers=headers or {})
        for attempt in range(_TRIES):
            answer, trouble, was_sent = self._send(asked)
            if answer is not None and (answer.status < 300 or answer.status in allowed):
                return answer
            # What was refused for load took no effect; what met a gateway's time-out may have.
            may_repeat = again or not was_sent or (answer is not None and answer.status in {429, 503})
            passes = answer is None or answer.status in _PASSING
            pause_s = self._pause_s(attempt, answer)
            if passes and may_repeat and attempt + 1 < _TRIES and self._clock.now_s() + pause_s < self._deadline_s:
                self._clock.sleep(pause_s)
                continue
            if answer is None or (answer.status in _PASSING and not may_repeat):
                # A client's exception quotes the address it asked, and one that carries its own signature is a secret.
                cause = trouble if scope else None
                raise self._unanswered(doing, url, answer, trouble, may_repeat=may_repeat) from cause
            raise refusal_of(read_told(answer.text, status=answer.status, headers=answer.headers), doing=doing)
        raise AssertionError("the last attempt returns or raises")

    def _send(self, asked: _Question) -> tuple[Answer | None, Exception | None, bool]:
        """(answer, why there is none, whether the request may have arrived)."""
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        sent: dict[str, Any] = {"content": asked.content} if asked.body is None else {"json": asked.body}
        request = HttpRequest(asked.method, asked.url, headers={"Accept": "application/json", **asked.headers}, **sent)
        try:
            response = self._pipeline(asked.scope).run(request).http_response
            read = response.read()
        except AzureError as error:
            return None, error, _may_have_arrived(error)
        lower = {str(name).lower(): str(value) for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=lower, content=read or b""), None, True

    def _pipeline(self, scope: str | None) -> Any:
        from azure.core.pipeline import Pipeline

        from mlaz_ci.adapters.azure_wire.transport import BearerPolicy, ClockTransport

        with self._lock:
            if not self._pipelines:
                self._pipelines["transport"] = ClockTransport(self._clock)
            key = scope or ""
            if key not in self._pipelines:
                policies = [BearerPolicy(self._credential, scope)] if scope else []
                self._pipelines[key] = Pipeline(self._pipelines["transport"], policies=policies)
            return self._pipelines[key]

    def _pause_s(self, attempt: int, answer: Answer | None) -> float:
        if answer is not None and (asked := retry_after_s(answer, self._clock.utc_now())) is not None:
            return asked + self._jitter.uniform(0, 1)
        return float(min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S) * self._jitter.uniform(0.5, 1.0))

    @staticmethod
    def _unanswered(
        doing: str, url: str, answer: Answer | None, trouble: Exception | None, *, may_repeat: bool
    ) -> AzureUnreachable:
        kind = AzureUnreachable if may_repeat else EffectUnknown
        if answer is not None:
            # Its own code and words, where it has any.
            told = refusal_of(read_told(answer.text, status=answer.status, headers=answer.headers), doing=doing)
            return kind(told.what, upstream_code=told.upstream_code, correlation_id=told.correlation_id)
        host = url.split("/")[2] if url.count("/") > 2 else url
        why = one_line(clip(_SIGNATURE.sub(r"\1***", str(trouble)), _SHOWN_CHARS))
        return kind(f"Azure could not {doing}: no answer from {host}: {why}")


def _may_have_arrived(error: BaseException) -> bool:
    """False only where no connection came about. azure-core's own word for that also covers one that broke behind a proxy,
    which urllib3 calls "Unable to connect to proxy" whatever was sent by then.
    """
    never = (
        "NewConnectionError",
        "NameResolutionError",
        "ConnectTimeoutError",
        "ConnectTimeout",
        "SSLCertVerificationError",
    )
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        if type(each).__name__ in never:
            return False
        waiting += [each.__cause__, each.__context__, getattr(each, "inner_exception", None)]
        waiting += [getattr(each, "reason", None), getattr(each, "original_error", None), *each.args]
    return True


def retry_after_s(answer: Answer, now: datetime) -> float | None:
    """The pause that the server asks for, in seconds: a number, or a date of HTTP."""
    text = answer.headers.get("retry-after-ms") or ""
    if re.fullmatch(r"\d{1,9}", text):
        return int(text) / 1000
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,6}(\.\d+)?", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError):
        return None
    if at is None:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
