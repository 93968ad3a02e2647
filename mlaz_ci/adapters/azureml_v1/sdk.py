"""azureml-core, held by the hand: imported in a thread, silent, with hosts and tokens of ours, and with failures of the catalogue.

It prints to stdout, warns, keeps what it discovers in ~/.azureml, writes what git says of the working directory into properties, and
hides refusals in texts. Nothing of that leaves this room.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import AzureUnreachable, ClientNotInstalled, MlazError
from mlaz_ci.refusals import read_told, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_CHAIN: Final = 12
_STATUS: Final = re.compile(r"\bCode: (\d{3})\b")
# azureml-core's words for what it does not find, without a status; the refusals' catalogue knows them by their words.
_CLIENT_PREFIXES: Final = ("WebserviceException:\n\tMessage: ", "ComputeTargetException:\n\tMessage: ")


class Sdk:
    """Safe for threads: azureml-core is used by one at a time, since what it prints is caught by swapping sys.stdout."""

    def __init__(self, door: WorkspaceDoor, authentication: Callable[[], Any]) -> None:
        """`authentication` makes azureml-core's from our credential; calling it imports azureml."""
        self._door = door
        self._authentication = authentication
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._workspace: Any = None

    def begin_import(self) -> None:
        """Most of a second of work, begun while something else is awaited."""
        with self._lock:
            if self._thread is None:
                # No daemon: one that is ended in the middle of an import, inside of a compiled module, takes the process down with it.
                self._thread = threading.Thread(target=_import_all, name="import-azureml")
                self._thread.start()

    @contextlib.contextmanager
    def making(self, doing: str) -> Iterator[Any]:
        """Gives azureml-core's Workspace; what it raises is what the refusal means. `doing` completes "Azure could not …"."""
        self.begin_import()
        assert self._thread is not None
        self._thread.join()
        with self._lock, _quiet():
            try:
                if self._workspace is None:
                    self._workspace = self._make_workspace()
                with _untracked():
                    yield self._workspace
            except ImportError as error:
                raise ClientNotInstalled(
                    "Targets aci and aks need azureml-core, which is not installed here.",
                    usually="mlaz-ci was installed without what these targets are driven with.",
                    remedy="Use the action, whose image has it, or install azureml-core beside mlaz-ci.",
                ) from error
            except Exception as error:
                raise failure_of(error, doing) from error

    def _make_workspace(self) -> Any:
        """Without a request: all that azureml-core would ask for is known."""
        from azureml.core import Workspace

        facts, at = self._door.facts, self._door.workspace
        authentication = self._authentication()
        workspace = Workspace(
            at.subscription_id,
            at.resource_group,
            at.name,
            auth=authentication,
            _location=facts.location,
            _disable_service_check=True,
            _workspace_id=facts.guid,
            _cloud=str(at.cloud),
        )
        workspace._service_context = _service_context(self._door, facts.guid, authentication)  # noqa: SLF001 - it takes no other
        return workspace


def _import_all() -> None:
    # A failure is raised again, and told, where the import is needed.
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import azureml.core.compute
        import azureml.core.environment
        import azureml.core.model
        import azureml.core.webservice  # noqa: F401 - into sys.modules


def _service_context(door: WorkspaceDoor, workspace_id: str, authentication: Any) -> Any:
    from azureml._restclient.service_context import ServiceContext

    class KnownHosts(ServiceContext):  # type: ignore[misc]  # azureml-core is not installed where mypy runs
        """Hosts from the door's discovery: no file in ~/.azureml is read or written, and no variable points elsewhere."""

        def _fetch_endpoints(self) -> dict[str, str]:
            return {}

        def _get_endpoint(self, key: str) -> str:
            from azureml._restclient.service_context import _ServiceKeys

            return door.host_of(_ServiceKeys.get_discovery_key(key))

    at = door.workspace
    return KnownHosts(
        at.subscription_id, at.resource_group, at.name, workspace_id, door.facts.discovery_url, authentication
    )


@contextlib.contextmanager
def _untracked() -> Iterator[None]:
    """Without the address, branch and commit of the checkout, which azureml-core puts into a service's properties.

    Azure never changes a property: with the next commit the service could not be updated any more. And the address may hold a token.
    """
    from azureml._base_sdk_common.tracking import global_tracking_info_registry as registry

    before, registry.providers = registry.providers, []
    try:
        yield
    finally:
        registry.providers = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    log = logging.getLogger("azureml")
    before = log.propagate
    log.propagate = False
    log.addHandler(silent := logging.NullHandler())
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.removeHandler(silent)
        log.propagate = before


def failure_of(error: BaseException, doing: str) -> MlazError:
    """What a client's exception means: one of ours that it was made of, an answer that it carries, or its text."""
    chain = _chain(error)
    for each in chain:
        if isinstance(each, MlazError):
            return each
    for each in chain:
        # The refusal itself, which the text above it may have lost: azureml-core replaces every 403 by advice of its own.
        response = getattr(each, "response", None)
        status = getattr(response, "status_code", None)
        if response is not None and isinstance(status, int):
            text, headers = getattr(response, "text", ""), getattr(response, "headers", {})
            told = read_told(text if isinstance(text, str) else "", status=status, headers=dict(headers))
            return refusal_of(told, doing=doing)
    if any(_is_unanswered(each) for each in chain):
        return AzureUnreachable(f"Azure could not {doing}: no answer: {type(error).__name__}.")
    text = str(getattr(error, "message", "") or error)
    for prefix in _CLIENT_PREFIXES:
        text = text.removeprefix(prefix)
    # A status that stands in the text alone, as azureml-core writes it of environments.
    stated = _STATUS.search(text)
    return refusal_of(read_told(text, status=int(stated[1]) if stated else None), doing=doing)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found and len(found) < _MAX_CHAIN:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _is_unanswered(error: BaseException) -> bool:
    from requests import exceptions

    return isinstance(error, exceptions.ConnectionError | exceptions.Timeout | exceptions.ChunkedEncodingError)
