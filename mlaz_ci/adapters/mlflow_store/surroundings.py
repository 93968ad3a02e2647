"""The surroundings in which mlflow is called: quiet, with bounded waiting, and with its errors turned into ours.

mlflow reads the process's variables, logs as it likes, and lets the exceptions of two dozen clients through; all that ends here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from mlaz_ci.adapters.mlflow_store.file_store import ALLOW_FILE_STORE, NOTICE
from mlaz_ci.adapters.mlflow_store.location import (
    DATABASE_SCHEMES,
    SERVER_FOR_CONTAINER,
    masked,
    secrets_of,
)
from mlaz_ci.adapters.mlflow_store.moved import IN_ACTION_CONTAINER
from mlaz_ci.adapters.mlflow_store.records import Missing, TooLarge
from mlaz_ci.errors import InvalidInput, MlazError, StoreNotSupported, TrackingAccessDenied, TrackingServerFailed

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}
# mlflow's own defaults (7 retries, 120 s each, doubling pauses) hold a pipeline for many minutes.
_BOUNDED = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
# The image is what it is: nothing can be installed into it.
_REMEDY_IN_IMAGE = (
    f"{SERVER_FOR_CONTAINER[0].upper()}{SERVER_FOR_CONTAINER[1:]}; or download the model's folder in an earlier step and pass it "
    "as `model-uri`; or use the command line with `mlaz-ci[stores]` instead of the action."
)
_MISSING_CODES = frozenset(
    {"RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"}
)
_DENIED_CODES = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})


# The modules that SQLAlchemy looks for, and who provides them.
_DRIVERS: Final = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "pyodbc": "pyodbc",
}


class Surroundings:
    """What mlflow reads from the process while we call it, put back afterwards."""

    def __init__(self, uri: str, scheme: str, environ: Mapping[str, str], notify: Callable[[str], None]) -> None:
        self.is_overridden = False
        self._variables = {**_BOUNDED, **{key: value for key, value in environ.items() if value}, **_QUIET}
        self._scheme = scheme
        self._notify = notify
        self._secrets = secrets_of(uri, environ)
        self._remedy = _REMEDY_IN_IMAGE if environ.get(IN_ACTION_CONTAINER) else None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Call mlflow inside this: quiet, bounded, and with its errors turned into ours."""
        before = dict(os.environ)
        try:
            os.environ.update(self._variables)
            with warnings.catch_warnings(), self._translated():
                warnings.simplefilter("ignore")
                self._prepare()
                yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _prepare(self) -> None:
        if self._scheme in DATABASE_SCHEMES and importlib.util.find_spec("sqlalchemy") is None:
            raise StoreNotSupported(
                f"`tracking-uri` is a {self._scheme} database, which needs the full mlflow package.",
                remedy=self._remedy,
            )
        from mlflow import environment_variables

        for name in ("mlflow", "alembic", "sqlalchemy"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if (
            self._scheme == "file"
            and hasattr(environment_variables, ALLOW_FILE_STORE)
            and not self._variables.get(ALLOW_FILE_STORE)
        ):
            self.is_overridden = True
            self._variables[ALLOW_FILE_STORE] = os.environ[ALLOW_FILE_STORE] = "true"
            self._notify(NOTICE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (MlazError, Missing, TooLarge):
            raise
        except ImportError as error:
            driver = _DRIVERS.get(error.name or "") if self._scheme in DATABASE_SCHEMES else None
            advice = (
                f"Install it beside mlaz-ci (`pip install {driver}`), or run `mlflow server` on that store and pass its http address as `tracking-uri`."
                if driver
                else None
            )
            raise StoreNotSupported(
                f"The store needs the Python package {error.name or error}, which is not installed here.",
                usually=f"`mlaz-ci[stores]` brings mlflow and no driver of a database: {self._scheme} has several."
                if driver
                else None,
                remedy=self._remedy or advice,
            ) from error
        except Exception as error:  # any of two dozen clients may stand behind mlflow, each with exceptions of its own
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> Exception:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException):
            return _translate_mlflow(error, masked(str(error), *self._secrets))
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            return error  # a full disk, for one: the caller knows what it was writing
        name, text = type(error).__name__, masked(str(error), *self._secrets)
        if isinstance(error, KeyError) or "plugin" in text.lower():
            return InvalidInput(f"mlflow cannot open the store that `tracking-uri` names: {name}: {_first_line(text)}")
        return TrackingServerFailed(f"The tracking store failed: {name}: {_first_line(text)}", upstream_code=name)


def _translate_mlflow(error: Any, text: str) -> Exception:
    code, line = str(error.error_code), _first_line(text)
    translated: Exception = TrackingServerFailed(f"The tracking store failed: {line}", upstream_code=code)
    if f"{ALLOW_FILE_STORE}=true" in text:
        translated = StoreNotSupported(
            f"The tracking store is a folder of files, and {ALLOW_FILE_STORE} forbids mlflow to open it.",
            usually=line,
            remedy=f"Unset {ALLOW_FILE_STORE}, or move the store to a database with `mlflow migrate-filestore`.",
            upstream_code=code,
        )
    elif type(error).__name__.startswith("Unsupported") or "unsupported URI" in text:
        translated = InvalidInput(f"mlflow cannot open the store that `tracking-uri` names: {line}", upstream_code=code)
    elif code in _DENIED_CODES:
        translated = TrackingAccessDenied(f"The tracking store refused: {line}", upstream_code=code)
    elif code in _MISSING_CODES:
        translated = Missing(line, code)
    return translated


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:500]
