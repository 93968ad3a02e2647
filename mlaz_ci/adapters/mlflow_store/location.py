"""Which store a tracking URI means, and its address without secrets. Knows no client; finds the default as mlflow does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlaz_ci.errors import InvalidInput, MissingInput

DATABASE_SCHEMES = ("sqlite", "postgresql", "mysql", "mssql")
SERVER_FOR_CONTAINER = (
    "run `mlflow server --host 0.0.0.0` on that store in an earlier step and pass its http address as `tracking-uri` "
    "(seen from this container, the runner is the gateway of the container's network, on Docker's own bridge usually 172.17.0.1)"
)
_DATABRICKS = ("databricks", "databricks-uc", "uc")


def find_tracking_uri(given: str | None, environ: Mapping[str, str], working_directory: Path) -> str:
    """The input, else MLFLOW_TRACKING_URI, else the store that mlflow itself would have used in this folder."""
    uri = given or environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return uri.strip()
    old_store = working_directory / "mlruns"
    if any(old_store.glob("[0-9]*/meta.yaml")):
        return old_store.as_uri()
    database = working_directory / "mlflow.db"
    if database.is_file():
        return f"sqlite:///{database}"
    raise MissingInput(
        f"No `tracking-uri` is given, MLFLOW_TRACKING_URI is not set, and {working_directory} holds no mlflow.db or mlruns.",
        remedy="Pass `tracking-uri`, e.g. the https address of your MLflow server.",
    )


def scheme_of(uri: str) -> str:
    """The kind of store: http, https, file, a database, databricks, or a plugin's scheme; else InvalidInput."""
    if uri in _DATABRICKS:
        return "databricks"
    if not is_well_formed(uri):
        raise InvalidInput(f"`tracking-uri` {masked(uri)!r} is not an address.")
    scheme = urlsplit(uri).scheme.split("+")[0].lower()
    if scheme in {"", "file"}:
        return "file"
    if scheme in {"http", "https", *DATABASE_SCHEMES}:
        return scheme
    if scheme in _DATABRICKS:
        return "databricks"
    if scheme == "azureml":
        raise InvalidInput(
            "`tracking-uri` names an Azure ML workspace, and this store was opened without one.",
            usually="The store was made by other code than the action's, which opens the workspace that the URI names.",
            remedy="Pass the workspace beside it.",
        )
    if any(plugin.name == scheme for plugin in entry_points(group="mlflow.tracking_store")):
        return scheme
    raise InvalidInput(
        f'`tracking-uri` "{masked(uri)}" has the scheme "{scheme}", which no MLflow store has.',
        usually="A typo, or the MLflow plugin for that scheme is not installed here.",
        remedy="Use http(s)://…, sqlite:///…, postgresql://…, mysql://…, databricks, or the path of an mlruns folder.",
    )


def is_well_formed(uri: str) -> bool:
    try:
        urlsplit(uri)
    except ValueError:
        return False
    return bool(uri) and uri.isprintable()


def require_http_host(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete or re.search(r"\s", uri):
        raise InvalidInput(
            f'`tracking-uri` "{masked(uri)}" is not a complete address.',
            remedy="Use the form https://host[:port][/prefix].",
        )


def local_folder(uri: str) -> Path | None:
    """The folder that a path or file: URI means on this machine, or None."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return Path(uri) if parts.scheme == "" else None


def database_file(uri: str) -> Path | None:
    """The file that sqlite:///relative or sqlite:////absolute means, as SQLAlchemy reads them, or None."""
    driver, _, path = uri.partition(":///")
    path = unquote(path.partition("?")[0])
    return Path(path) if driver.lower() in {"sqlite", "sqlite+pysqlite"} and path else None


def require_existing(uri: str, scheme: str, working_directory: Path, *, is_in_container: bool) -> None:
    """Mlflow makes a store that does not exist; a deploy must not, and says that the address is wrong."""
    if scheme == "file":
        folder = local_folder(uri)
        if folder is not None and not (working_directory / folder).is_dir():
            raise _no_such_store(uri, "folder", is_in_container=is_in_container)
    if scheme == "sqlite":
        file = database_file(uri)
        if file is None or not (working_directory / file).is_file():
            raise _no_such_store(uri, "database file", is_in_container=is_in_container)


def _no_such_store(uri: str, kind: str, *, is_in_container: bool) -> InvalidInput:
    what = f'`tracking-uri` "{masked(uri)}": there is no such {kind}'
    if is_in_container:
        return InvalidInput(
            f"{what} in the action's container.",
            usually="The path is mistyped, or is one of the runner's outside the workspace: the container sees the workspace alone.",
            remedy="Keep the store in the workspace and give its path relative to it (mlruns, sqlite:///mlflow.db), "
            f"or {SERVER_FOR_CONTAINER}.",
        )
    return InvalidInput(
        f"{what} on this machine.",
        usually="The path is mistyped, is relative to another folder, or the store is on another machine.",
        remedy="Check the path, or run `mlflow server` on that store and pass its http address.",
    )


def masked(text: str, *secrets: str) -> str:
    """`text` without the user info of URIs, signatures in queries, and the given secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = re.sub(r"(?<=://)[^/\s@'\"]*@", "***@", text)
    return re.sub(r"([?&](?:sig|se|token|password|x-amz-[\w-]+)=)[^&\s'\")]+", r"\1***", text, flags=re.IGNORECASE)


def secrets_of(uri: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What must not be shown: the password in the URI, as written and decoded, and MLflow's own variables."""
    found = [environ.get("MLFLOW_TRACKING_PASSWORD"), environ.get("MLFLOW_TRACKING_TOKEN")]
    for each in (uri, environ.get("MLFLOW_TRACKING_URI", ""), environ.get("MLFLOW_REGISTRY_URI", "")):
        password = _password(each)
        found += [password, unquote(password)]
    return tuple(dict.fromkeys(secret for secret in found if secret))


def _password(uri: str) -> str:
    try:
        return urlsplit(uri).password or ""
    except ValueError:
        return ""
