"""Whether a tracking database is of the installed mlflow's schema. mlflow would not ask: it migrates an older one as it opens it."""

from __future__ import annotations

from pathlib import Path

from mlaz_ci.adapters.mlflow_store.location import masked
from mlaz_ci.errors import InvalidInput, StoreNotSupported


def require_own_schema(uri: str) -> None:
    """Raises StoreNotSupported for a database of another mlflow, InvalidInput for one that holds no store; changes nothing."""
    expected = _installed_revision()
    found = _revision_of(uri)
    if found is None:
        raise InvalidInput(
            f"`tracking-uri` {masked(uri)} is a database without an MLflow store in it.",
            usually="The database is empty, or another program's.",
            remedy="Check the address and the name of the database.",
        )
    if found != expected:
        raise StoreNotSupported(
            f"The tracking database was made by another version of mlflow than the one installed here "
            f"(schema {found}, here {expected}). It was not touched.",
            usually="Opening it with this mlflow would migrate it, and older servers and clients could not read it any more.",
            remedy="Run `mlflow server` with the version that made it and pass the server's http address as `tracking-uri`, "
            "or migrate it yourself with `mlflow db upgrade` (back it up first).",
        )


def _installed_revision() -> str | None:
    import mlflow
    from alembic.script import ScriptDirectory

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    return ScriptDirectory(str(migrations)).get_current_head()


def _revision_of(uri: str) -> str | None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                return None
            revision = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar()
            return None if revision is None else str(revision)
    finally:
        engine.dispose()
