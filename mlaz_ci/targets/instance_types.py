"""From cores and memory to a VM size, by Microsoft's table. Pure."""

from __future__ import annotations

from typing import Final

# (cores, GB, VM size): Microsoft's table for moving from ACI, "Migrate to managed online endpoints". Its rows have holes, so
# the first row whose both bounds are at least the request is taken.
INSTANCE_TYPES: Final = (
    (1.0, 1.2, "Standard_DS1_v2"),
    (2.0, 1.7, "Standard_F2s_v2"),
    (2.0, 4.7, "Standard_DS2_v2"),
    (2.0, 13.7, "Standard_E2s_v3"),
    (4.0, 5.7, "Standard_F4s_v2"),
    (4.0, 11.7, "Standard_DS3_v2"),
    (4.0, 16.0, "Standard_E4s_v3"),
)


def instance_type_for(cores: float | None, memory_gb: float | None) -> str | None:
    """None where the table ends."""
    return next(
        (name for most, most_gb, name in INSTANCE_TYPES if (cores or 0.0) <= most and (memory_gb or 0.0) <= most_gb),
        None,
    )
