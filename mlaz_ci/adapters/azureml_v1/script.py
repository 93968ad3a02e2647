"""The scoring script as a service's source directory: score.py and the swagger files in one archive, named by content. Pure."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlaz_ci.adapters.azureml_v1.upload import ORIGIN, Parcel

# The folder that the archive unpacks to, in the container's app root.
SOURCE_FOLDER: Final = "mlaz"
ENTRY_SCRIPT: Final = f"{SOURCE_FOLDER}/score.py"
ARCHIVE: Final = "source.tar.gz"
DRIVER: Final = "main.py"
# Images without Microsoft's newer inference stack know no AZUREML_ENTRY_SCRIPT: they run this, and it runs score.py.
_DRIVER_TEXT: Final = """\
import importlib.util
import os

_place = os.path.join(os.path.dirname(os.path.realpath(__file__)), "mlaz", "score.py")
_spec = importlib.util.spec_from_file_location("mlaz_score", _place)
_score = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_score)


def init():
    _score.init()


def run(http_body):
    return _score.run(http_body)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What is uploaded, and how an image request names it."""

    parcels: tuple[Parcel, ...]
    container: str

    @property
    def assets(self) -> tuple[Mapping[str, Any], ...]:
        """In the form of Microsoft's EnvironmentImageAsset."""
        return (
            {"id": DRIVER, "url": self._url(DRIVER), "mimeType": "application/x-python"},
            {"id": ARCHIVE, "url": self._url(ARCHIVE), "mimeType": "application/octet-stream", "unpack": True},
        )

    def _url(self, path: str) -> str:
        return f"aml://artifact/{ORIGIN}/{self.container}/{path}"


def make_script(files: Mapping[str, str]) -> Script:
    """`files` are score.py and what goes beside it. Equal files give equal bytes, and so the same names."""
    archive = _archive({name: text.encode() for name, text in sorted(files.items())})
    driver = _DRIVER_TEXT.encode()
    digest = hashlib.sha256(driver + archive).hexdigest()[:32]
    parcels = (Parcel(path=DRIVER, content=driver), Parcel(path=ARCHIVE, content=archive))
    return Script(parcels=parcels, container=f"mlaz-{digest}")


def _archive(files: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    # Without a time, owner or name in it, so that the same files are the same archive.
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{SOURCE_FOLDER}/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return raw.getvalue()
