"""Artifacts in a folder of this machine: a checkout, a file store, a server's disk. Nothing outside the folder is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mlaz_ci.adapters.mlflow_store.download import walk
from mlaz_ci.adapters.mlflow_store.records import Entry, Missing, TooLarge
from mlaz_ci.errors import ModelNotServable

_CHUNK_BYTES = 1024 * 1024


class FolderArtifacts:
    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def small(self) -> None:
        """A listing tells sizes too."""

    def entries(self, path: str) -> Sequence[Entry]:
        folder = self._inside(path)
        if not folder.is_dir():
            return ()
        found = []
        for each in sorted(folder.iterdir()):
            # A link out of the folder is refused even if it is never read: the copy must be the model and nothing else.
            target = self._inside(each.relative_to(self._folder).as_posix())
            is_folder = target.is_dir()
            found.append(
                Entry(
                    path=each.relative_to(self._folder).as_posix(),
                    is_folder=is_folder,
                    size_bytes=None if is_folder else target.stat().st_size,
                )
            )
        return tuple(found)

    def read(self, path: str, limit_bytes: int) -> bytes:
        file = self._regular(path)
        with file.open("rb") as stream:
            content = stream.read(limit_bytes + 1)
        if len(content) > limit_bytes:
            raise TooLarge(path)
        return content

    def download(self, path: str, target: Path, advance: Callable[[int], None]) -> None:
        with self._regular(path).open("rb") as source, target.open("wb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))

    def write(self, path: str, content: bytes) -> None:
        target = self._inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        part.replace(target)

    def digest(self) -> str:
        """The identity of every byte: a folder of a checkout can change under an unchanged MLmodel."""
        total = hashlib.sha256()
        for entry in sorted((each for each in walk(self) if not each.is_folder), key=lambda each: each.path):
            with self._regular(entry.path).open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{entry.path}\0{content}\0".encode(errors="surrogateescape"))
        return total.hexdigest()[:32]

    def _regular(self, path: str) -> Path:
        """A pipe or a device in a checkout would be read for ever."""
        file = self._inside(path)
        if not file.is_file():
            raise Missing(f"{path} is not a file")
        return file

    def _inside(self, path: str) -> Path:
        try:
            target = (self._folder / path).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise Missing(f"{path!r} cannot be followed") from error
        if not target.is_relative_to(self._folder):
            raise ModelNotServable(
                f"{path} in the model's folder {self._folder} is a link that leads out of it.",
                usually="The model was assembled by links; what they point to is not part of the model.",
                remedy="Put the file itself in its place.",
            )
        return target
