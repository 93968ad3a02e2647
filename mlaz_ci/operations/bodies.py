"""Requests that the user keeps in files."""

from __future__ import annotations

import json
from pathlib import Path

from mlaz_ci.errors import FileNotFound, InvalidInput
from mlaz_ci.models import ScoreRequest


def read_smoke_test(file: Path) -> ScoreRequest:
    """Raises FileNotFound, and InvalidInput for what every service of ours would refuse when it stands."""
    request = read_request(file, "smoke-test-file")
    try:
        json.loads(request.body)
    except json.JSONDecodeError as error:
        problem = f" at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        problem = ""
    else:
        return request
    raise InvalidInput(
        f"`smoke-test-file` {file} is not JSON{problem}.",
        usually="The file is another one, or was cut off.",
        remedy="Write a request as docs/serving.md shows it, or leave the input out: the model's own input example is sent then.",
    )


def read_request(file: Path, input_name: str) -> ScoreRequest:
    """Raises FileNotFound naming the input."""
    try:
        return ScoreRequest(body=file.read_bytes(), origin=str(file))
    except OSError as error:
        raise FileNotFound(f"`{input_name}` {file} cannot be read: {error.strerror}.") from error
