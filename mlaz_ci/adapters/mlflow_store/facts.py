"""Reads the few KB of a model folder that the checks need, by its listing, and never its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlaz_ci.adapters.mlflow_store.download import WalkTooLong, walk
from mlaz_ci.adapters.mlflow_store.records import SMALL_FILES, Artifacts, Entry, Missing, TooLarge
from mlaz_ci.checks.mlmodel import (
    EXAMPLE_LIMIT_BYTES,
    MLMODEL_FILE,
    MLMODEL_LIMIT_BYTES,
    PYTHON_FILE,
    REQUIREMENT_FILES,
    REQUIREMENT_LIMIT_BYTES,
    MlmodelDocument,
    assemble_facts,
    decode_requirements,
    parse_mlmodel,
    render_example,
)
from mlaz_ci.errors import ModelNotServable
from mlaz_ci.models import ModelFacts

_LIST_LIMIT = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderFacts:
    facts: ModelFacts
    size_bytes: int | None
    created_at: datetime | None


def holds_model(artifacts: Artifacts, path: str) -> bool:
    wanted = f"{path}/{MLMODEL_FILE}" if path else MLMODEL_FILE
    try:
        return any(entry.path == wanted and not entry.is_folder for entry in artifacts.entries(path))
    except Missing:
        return False


class _Files:
    """The files right below the root, by a listing that is asked for only where their names do not do."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self.small = artifacts.small()
        self._listed: dict[str, Entry] | None = None

    def get(self, name: str | None) -> Entry | None:
        if name is None:
            return None
        if self.small is not None and name in SMALL_FILES:
            content = self.small.get(name)
            return None if content is None else Entry(path=name, is_folder=False, size_bytes=len(content))
        if self._listed is None:
            self._listed = {entry.path: entry for entry in self._artifacts.entries("") if not entry.is_folder}
        return self._listed.get(name)


def read_facts(artifacts: Artifacts, *, place: str, notify: Callable[[str], None]) -> FolderFacts:
    """Raises Missing where the folder holds no MLmodel. `place` is what people call the folder."""
    files = _Files(artifacts)
    mlmodel = files.get(MLMODEL_FILE)
    if mlmodel is None:
        raise Missing(f"{place} holds no {MLMODEL_FILE}")
    content = _small(artifacts, mlmodel, MLMODEL_LIMIT_BYTES, place)
    document = parse_mlmodel(content, place=f"{place}/{MLMODEL_FILE}")
    texts: dict[str, str] = {}
    for name in REQUIREMENT_FILES:
        if name == PYTHON_FILE and document.python_version:
            # All that it says is which Python, and a request is a request.
            continue
        entry = files.get(document.conda_file if name == "conda.yaml" else name)
        if entry is not None:
            text = _small(artifacts, entry, REQUIREMENT_LIMIT_BYTES, place)
            texts[name] = decode_requirements(text, place=f"{place}/{entry.path}")
    return FolderFacts(
        facts=assemble_facts(document, texts, input_example=_example(artifacts, files, document, place, notify)),
        # Where files are had by their names, no listing tells sizes.
        size_bytes=_size_bytes(artifacts, document) if files.small is None else document.size_bytes,
        created_at=document.created_at,
    )


def _small(artifacts: Artifacts, entry: Entry, limit_bytes: int, place: str) -> bytes:
    try:
        return _read(artifacts, entry, limit_bytes)
    except TooLarge as error:
        raise ModelNotServable(
            f"{place}/{entry.path} is larger than {limit_bytes // 1024**2} MB.",
            usually="Another file took its place: mlflow writes a few KB there.",
            remedy="Log the model again.",
        ) from error


def _read(artifacts: Artifacts, entry: Entry, limit_bytes: int) -> bytes:
    if entry.size_bytes is not None and entry.size_bytes > limit_bytes:
        raise TooLarge(entry.path)
    return artifacts.read(entry.path, limit_bytes)


def _example(
    artifacts: Artifacts,
    files: _Files,
    document: MlmodelDocument,
    place: str,
    notify: Callable[[str], None],
) -> str | None:
    """The example that mlflow made for serving, else the raw one. A model without a usable one is still a model."""
    if document.example is None:
        return None
    for name, is_serving_form in ((document.example.serving_file, True), (document.example.data_file, False)):
        entry = files.get(name)
        if entry is None:
            continue
        try:
            content = _read(artifacts, entry, EXAMPLE_LIMIT_BYTES)
        except TooLarge:
            notify(
                f"The input example {place}/{entry.path} is larger than {EXAMPLE_LIMIT_BYTES // 1024**2} MB and is not used."
            )
            continue
        body = render_example(content, document.example, is_serving_form=is_serving_form)
        if body is not None:
            return body
        notify(f"The input example {place}/{entry.path} has no form that a service takes and is not used.")
    return None


def _size_bytes(artifacts: Artifacts, document: MlmodelDocument) -> int | None:
    """By listing; a model of very many folders costs a request each, so there mlflow's own count has to do."""
    try:
        entries = [entry for entry in walk(artifacts, list_limit=_LIST_LIMIT) if not entry.is_folder]
    except WalkTooLong:
        return document.size_bytes
    sizes = [entry.size_bytes for entry in entries if entry.size_bytes is not None]
    return sum(sizes) if len(sizes) == len(entries) else document.size_bytes
