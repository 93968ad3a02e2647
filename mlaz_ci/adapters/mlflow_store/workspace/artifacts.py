"""The files below one folder of the workspace, as the port of this package's readers. The small ones come all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from mlaz_ci.adapters.mlflow_store.records import SMALL_FILES, Entry, Missing, TooLarge, safe_path
from mlaz_ci.adapters.mlflow_store.workspace.blobs import Address, Blobs, SignatureRefused, not_taken
from mlaz_ci.adapters.mlflow_store.workspace.places import Container, File

_T = TypeVar("_T")
_AT_ONCE: Final = 8
_SMALL_LIMIT_BYTES: Final = 128 * 1024


class Listings:
    """One container, each part of it listed once."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, File]] = {}
        self._small: dict[str, Mapping[str, bytes] | None] = {}

    def small(self, prefix: str) -> Mapping[str, bytes] | None:
        """As records.Artifacts has it, asked for once and all at once. None also where one of them is large: what it is the listing's way tells."""
        if not self.container.reads_by_name:
            return None
        with self._lock:
            if prefix not in self._small:
                try:
                    with ThreadPoolExecutor(len(SMALL_FILES)) as pool:
                        contents = list(pool.map(partial(self._read, prefix), SMALL_FILES))
                    found = zip(SMALL_FILES, contents, strict=True)
                    self._small[prefix] = {name: content for name, content in found if content is not None}
                except TooLarge:
                    self._small[prefix] = None
            return self._small[prefix]

    def _read(self, prefix: str, name: str) -> bytes | None:
        try:
            return self.container.read(f"{prefix}/{name}" if prefix else name, _SMALL_LIMIT_BYTES)
        except Missing:
            return None

    def files(self, prefix: str) -> Mapping[str, File]:
        with self._lock:
            for known, files in self._known.items():
                if known == prefix or (known and prefix.startswith(f"{known}/")):
                    return files
            # A whole container comes without addresses: it answers what is there, not where.
            self._known[prefix] = self.container.files(prefix)
            return self._known[prefix]

    @property
    def is_whole(self) -> bool:
        with self._lock:
            return "" in self._known

    def forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._small.clear()


class WorkspaceArtifacts:
    """`records.Artifacts` below the folder `root` of a container."""

    def __init__(self, listings: Listings, root: str, blobs: Blobs) -> None:
        self._listings = listings
        self._root = root
        self._blobs = blobs
        self._folders: Mapping[str, Sequence[Entry]] | None = None
        self._small: Mapping[str, bytes] | None = None

    def entries(self, path: str) -> Sequence[Entry]:
        if not self._root and path and not self._listings.is_whole:
            # One folder, with the addresses of its files, and not all that the run has.
            below = WorkspaceArtifacts(self._listings, path, self._blobs).entries("")
            return tuple(
                Entry(path=f"{path}/{each.path}", is_folder=each.is_folder, size_bytes=each.size_bytes)
                for each in below
            )
        if self._folders is None:
            self._folders = _by_folder(self._files())
        return self._folders.get(path, ())

    def small(self) -> Mapping[str, bytes] | None:
        return self._listings.small(self._root)

    def read(self, path: str, limit_bytes: int) -> bytes:
        if self._small is None and path in SMALL_FILES:
            self._small = self.small() or self._read_small()
        if self._small and path in self._small:
            content = self._small[path]
            if len(content) > limit_bytes:
                raise TooLarge(path)
            return content
        if not self._root:
            # A whole container is listed without addresses.
            with self._told(path):
                return self._listings.container.read(path, limit_bytes)
        return self._at(path, lambda address: self._blobs.read(address, limit_bytes, path=path))

    def download(self, path: str, target: Path, advance: Callable[[int], None]) -> None:
        with self._told(path):
            self._blobs.download(self._address(path), target, advance, path=path, renew=lambda: self._fresh(path))

    def write(self, path: str, content: bytes) -> None:
        self._listings.container.write(self._full(path), content)
        self._listings.forget()

    def measured(self) -> WorkspaceArtifacts:
        """The same with the size of every file, which the artifact services do not list: one request for each."""
        files = self._files()
        unknown = [path for path, file in files.items() if file.size_bytes is None]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            sizes = dict(zip(unknown, pool.map(self._size_bytes, unknown), strict=True))
        measured = WorkspaceArtifacts(self._listings, self._root, self._blobs)
        measured._folders = _by_folder(
            {
                path: File(address=file.address, size_bytes=sizes.get(path, file.size_bytes))
                for path, file in files.items()
            }
        )
        return measured

    def _size_bytes(self, path: str) -> int:
        return self._at(path, lambda address: self._blobs.size_bytes(address, path=path))

    def _read_small(self) -> dict[str, bytes]:
        """Those that are there and as small as they should be; each failure is met again where the file is wanted."""
        there = [path for path in SMALL_FILES if path in self._files()]

        def read(path: str) -> bytes | None:
            try:
                return self._at(path, lambda address: self._blobs.read(address, _SMALL_LIMIT_BYTES, path=path))
            except (TooLarge, Missing):
                return None

        with ThreadPoolExecutor(len(SMALL_FILES)) as pool:
            contents = list(pool.map(read, there))
        return {path: content for path, content in zip(there, contents, strict=True) if content is not None}

    def _files(self) -> Mapping[str, File]:
        """By their paths below the root."""
        if not self._root:
            return self._listings.files("")
        start = f"{self._root}/"
        found = self._listings.files(self._root)
        return {path[len(start) :]: file for path, file in found.items() if path.startswith(start)}

    def _at(self, path: str, use: Callable[[Address], _T]) -> _T:
        """With the listed address, and where its time is over, once more with a fresh one."""
        with self._told(path):
            try:
                return use(self._address(path))
            except SignatureRefused:
                return use(self._fresh(path))

    def _address(self, path: str) -> Address:
        """As it was listed, which costs nothing."""
        listed = self._files().get(path) if self._root else None
        return listed.address if listed is not None and listed.address is not None else self._fresh(path)

    def _fresh(self, path: str) -> Address:
        return self._listings.container.address(self._full(path))

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except SignatureRefused as error:
            raise not_taken(path, error) from error

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path


def _by_folder(files: Mapping[str, File]) -> Mapping[str, Sequence[Entry]]:
    """The entries right below each folder, "" for the root."""
    folders: dict[str, dict[str, Entry]] = {}
    for path, file in sorted(files.items()):
        inner = safe_path(path)
        entry = Entry(path=inner, is_folder=False, size_bytes=file.size_bytes)
        while True:
            parent, _, _ = entry.path.rpartition("/")
            known = folders.setdefault(parent, {})
            if entry.path in known:
                break
            known[entry.path] = entry
            if not parent:
                break
            entry = Entry(path=parent, is_folder=True, size_bytes=None)
    return {folder: tuple(entries.values()) for folder, entries in folders.items()}
