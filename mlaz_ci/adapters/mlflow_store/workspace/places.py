"""The files below a place of the workspace, with the address of each: by the artifact services, or by a datastore's own storage."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from mlaz_ci.adapters.mlflow_store.records import ENTRY_LIMIT, Missing, TooLarge, safe_path
from mlaz_ci.adapters.mlflow_store.workspace.blobs import Address
from mlaz_ci.adapters.mlflow_store.workspace.regional import Regional
from mlaz_ci.adapters.mlflow_store.workspace.uris import RUN_ORIGIN, ArtifactPlace, RunPlace, run_container
from mlaz_ci.errors import AzureUnreachable, ModelNotServable, StoreNotSupported


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """`address` and `size_bytes` are None where the listing did not tell them."""

    address: Address | None
    size_bytes: int | None = None


class Container(Protocol):
    """A set of files by their paths. Safe for threads."""

    @property
    def label(self) -> str:
        """What people call it."""
        ...

    @property
    def reads_by_name(self) -> bool:
        """Whether a file that was not listed is had in one request, and one that is not there costs no more."""
        ...

    def files(self, prefix: str) -> Mapping[str, File]:
        """All files below `prefix` ("" for all there are), by their paths in the container. Empty where there are none."""
        ...

    def address(self, path: str) -> Address:
        """A fresh address to read a file. Raises Missing."""
        ...

    def read(self, path: str, limit_bytes: int) -> bytes:
        """A small file that was not listed. Raises Missing, TooLarge."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """A small file, over what may be there already."""
        ...


class ArtifactContainer:
    """The artifacts of one run (run history's facade) or of any container (the artifact service). They speak alike."""

    reads_by_name = True

    def __init__(self, place: RunPlace | ArtifactPlace, history: Regional, artifacts: Regional) -> None:
        self._artifacts = artifacts
        if isinstance(place, RunPlace):
            self.label = f"run {place.run_id}"
            self._container = _container(RUN_ORIGIN, run_container(place.run_id))
            self._service = history
            self._below = f"/experiments/{_segment(place.experiment)}/runs/{_segment(place.run_id)}/artifacts"
        else:
            self.label = f"{place.origin}/{place.container}"
            self._container = _container(place.origin, place.container)
            self._service, self._below = artifacts, self._container

    def files(self, prefix: str) -> Mapping[str, File]:
        """One request lists a folder with the address of every file; the whole container is listed without addresses."""
        doing = f"list the artifacts of {self.label}"
        below, query = ("/prefix/contentinfo", {"path": prefix}) if prefix else ("", {})
        found: dict[str, File] = {}
        try:
            for entry in self._service.members(self._below + below, doing=doing, query=query):
                path = safe_path(str(entry.get("path") or "").lstrip("/"))
                # The service may take a prefix for a beginning of text: "model" also begins "model-2/MLmodel".
                if prefix and path != prefix and not path.startswith(f"{prefix}/"):
                    continue
                uri = entry.get("contentUri")
                found[path] = File(address=Address.of(str(uri)) if uri else None)
                if len(found) > ENTRY_LIMIT:
                    raise _too_many(self.label)
        except Missing:
            return {}
        return found

    def address(self, path: str) -> Address:
        doing = f"tell where {path} of {self.label} lies"
        told = self._service.ask("GET", f"{self._below}/contentinfo", doing=doing, query={"path": path}).object
        return _content_uri(told, doing)

    # artifact.json of 2019-09-30, Artifacts_Download and Artifacts_Upload: the bytes themselves, where an address would be asked for first.

    def read(self, path: str, limit_bytes: int) -> bytes:
        doing = f"read {path} of {self.label}"
        headers = {"Accept": "application/octet-stream", "Range": f"bytes=0-{limit_bytes}"}
        answer = self._artifacts.ask(
            "GET", f"{self._container}/content", doing=doing, query={"path": path}, headers=headers
        )
        if len(answer.content) > limit_bytes:
            raise TooLarge(path)
        return answer.content

    def write(self, path: str, content: bytes) -> None:
        self._artifacts.ask(
            "POST",
            f"{self._container}/content",
            doing=f"take the artifact {path} of {self.label}",
            query={"path": path, "allowOverwrite": "true"},
            content=content,
            headers={"Content-Type": "application/octet-stream"},
        )


def _container(origin: str, container: str) -> str:
    return f"/artifacts/{_segment(origin)}/{_segment(container)}"


def _content_uri(told: Mapping[str, object], doing: str) -> Address:
    uri = told.get("contentUri")
    if not isinstance(uri, str) or not uri:
        raise AzureUnreachable(f"Azure could not {doing}: its answer has no address in it.")
    return Address.of(uri)


def _segment(text: str) -> str:
    """As one segment of a path, whatever stands in it."""
    if text in {".", ".."}:
        raise Missing(f"{text!r} is no name")
    return quote(text, safe="")


def _too_many(label: str) -> ModelNotServable:
    return ModelNotServable(
        f"{label} holds more than {ENTRY_LIMIT} files.",
        usually="A whole environment or a data set was logged with the model.",
        remedy="Log the model without them.",
    )


def not_readable(uri: str, place: str) -> StoreNotSupported:
    return StoreNotSupported(
        f"The files of the model lie in {posixpath.normpath(uri.partition('?')[0])}, which cannot be read from {place}.",
        usually="The model is registered by an address outside of the workspace, or in a form of it that this version does not know.",
        remedy="Register the model from a run, a job's output or a blob datastore of the workspace, or download its folder in an earlier "
        "step and pass that as `model-uri`.",
    )
