"""Arithmetic of traffic: whole percents between deployments that exist, summing to 100 or to nothing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def with_share(traffic: Mapping[str, int], name: str, percent: int) -> dict[str, int]:
    """`name` gets `percent`; what the others have shrinks, or grows, in proportion."""
    others = {each: share for each, share in traffic.items() if each != name and share > 0}
    if not others:
        return {name: 100}
    return {**scaled(others, 100 - percent), **({name: percent} if percent else {})}


def scaled(shares: Mapping[str, int], total: int) -> dict[str, int]:
    """The same proportions summing to `total`, by largest remainder; what comes to nothing is left out."""
    whole = sum(shares.values())
    if not whole or not total:
        return {}
    exact = {name: share * total / whole for name, share in shares.items()}
    result = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (result[name] - exact[name], name))
    for name in by_remainder[: total - sum(result.values())]:
        result[name] += 1
    return {name: share for name, share in result.items() if share}


def without(traffic: Mapping[str, int], name: str, fallback: str | None, present: Collection[str]) -> dict[str, int]:
    """`name`'s share back to those that share the traffic with it, or to `fallback`, where that is still there; else to nobody."""
    others = {each: share for each, share in traffic.items() if each != name and share > 0 and each in present}
    if others:
        return scaled(others, 100)
    return {fallback: 100} if fallback in present and fallback != name and fallback is not None else {}
