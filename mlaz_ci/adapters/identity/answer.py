"""The last refusal of a token request, kept aside: MSAL throws the body of a server's failure away, and Azure's words with it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    text: str

    @property
    def is_json(self) -> bool:
        try:
            return isinstance(json.loads(self.text), dict)
        except (ValueError, RecursionError):
            return False


class LastAnswer(threading.local):
    """One for each thread. `remember` is azure-core's `raw_response_hook`."""

    value: Answer | None = None

    def remember(self, response: Any) -> None:
        http = response.http_response
        text = http.text(encoding="utf-8") if callable(http.text) else str(http.text)
        answer = Answer(status=int(http.status_code), text=text)
        self.value = answer if answer.status >= 400 or not answer.is_json else None

    def take(self) -> Answer | None:
        """Once: what a later failure meets is its own."""
        value, self.value = self.value, None
        return value
