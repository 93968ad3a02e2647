"""One workspace as a connection: its records, and the files at any place of it that a record names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.mlflow_store.records import Advice
from mlaz_ci.adapters.mlflow_store.workspace.artifacts import Listings, WorkspaceArtifacts
from mlaz_ci.adapters.mlflow_store.workspace.blobs import Blobs
from mlaz_ci.adapters.mlflow_store.workspace.datastores import BlobContainer, open_datastore
from mlaz_ci.adapters.mlflow_store.workspace.places import ArtifactContainer, Container, not_readable
from mlaz_ci.adapters.mlflow_store.workspace.regional import Regional
from mlaz_ci.adapters.mlflow_store.workspace.tracking import WorkspaceTracking
from mlaz_ci.adapters.mlflow_store.workspace.uris import (
    ArtifactPlace,
    BlobPlace,
    DatastorePlace,
    Place,
    RunPlace,
    parse_place,
)

_MLFLOW: Final = "/mlflow/v2.0"
_ADVICE: Final = Advice(
    no_run="Check `run-id`. For a run of another workspace or server pass its tracking URI as `tracking-uri` "
    "(`az ml workspace show --query mlflow_tracking_uri`).",
    no_model="Check `model-uri`. For a model of another workspace or server pass its tracking URI as `tracking-uri`.",
    no_files="Log the model anew. mlflow 3 cannot log one to Azure Machine Learning, which has no LoggedModels: use mlflow 2 with "
    'mlflow.<flavor>.log_model, or mlflow.<flavor>.save_model to a folder and mlflow.log_artifacts(folder, "model").',
)


class WorkspaceConnection:
    """Opened on first use; nothing is asked before. Each place is listed once."""

    advice = _ADVICE

    def __init__(self, door: WorkspaceDoor, mask: Callable[[str], None]) -> None:
        self._door = door
        self._blobs = Blobs(door.wire, mask)
        self._history = Regional(door, "history", "/history/v1.0")
        self._artifact = Regional(door, "api", "/artifact/v2.0")
        self._listings: dict[str, Listings] = {}
        self._lock = threading.Lock()
        self.tracking = WorkspaceTracking(Regional(door, "api", _MLFLOW), door.workspace)
        self.place = f'the workspace "{door.workspace.name}"'

    @property
    def uri(self) -> str:
        """The tracking URI that MLflow's plugin takes, under the host that discovery tells."""
        return f"azureml://{self._door.host_of('api').removeprefix('https://')}{_MLFLOW}{self._door.path}"

    def artifacts(self, uri: str) -> WorkspaceArtifacts:
        """The files under a URI as a run or version record gives it. Raises StoreNotSupported for a place outside of the workspace."""
        place = parse_place(uri, self._door.workspace)
        if place is None:
            raise not_readable(uri, self.place)
        return WorkspaceArtifacts(self._listings_of(place), place.path, self._blobs)

    def _listings_of(self, place: Place) -> Listings:
        key = _key(place)
        with self._lock:
            if key not in self._listings:
                self._listings[key] = Listings(self._open(place))
            return self._listings[key]

    def _open(self, place: Place) -> Container:
        now = self._door.wire.utc_now
        match place:
            case RunPlace() | ArtifactPlace():
                return ArtifactContainer(place, self._history, self._artifact)
            case DatastorePlace():
                return open_datastore(self._door, place.name, self._blobs, now)
            case BlobPlace():
                url = f"{place.account_url}/{place.container}"
                return BlobContainer(url, self._blobs, sign=lambda: None, now=now, label=url)


def _key(place: Place) -> str:
    match place:
        case RunPlace():
            return f"run/{place.experiment}/{place.run_id}"
        case ArtifactPlace():
            return f"artifact/{place.origin}/{place.container}"
        case DatastorePlace():
            return f"datastore/{place.name}"
        case BlobPlace():
            return f"blob/{place.account_url}/{place.container}"
