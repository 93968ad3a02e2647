"""What a deploy would find out late: whether the port that it asks for, or keeps, can be had. Looked at before anything is built."""

from __future__ import annotations

from mlaz_ci.adapters.local_process import port
from mlaz_ci.adapters.local_process.place import Place, places
from mlaz_ci.adapters.local_process.process import is_alive, members
from mlaz_ci.adapters.local_process.site import Site, find_record


def check_port(site: Site, service_name: str, asked: int | None) -> None:
    """Raises PortInUse, RecordUnreadable. A service whose port nobody was told yet gets any that is free."""
    folder = site.home.service(service_name) if service_name else None
    record = find_record(folder) if folder else None
    wanted = asked or (record.port if record and record.live else None)
    if wanted is None:
        return
    if folder and record and record.port == wanted and any(_has_processes(each) for each in places(folder)):
        return  # its own have it, and hand it over
    port.bind(site.host, wanted).close()


def _has_processes(place: Place) -> bool:
    identity = place.identity
    return identity is not None and (is_alive(identity) or bool(members(identity)))
