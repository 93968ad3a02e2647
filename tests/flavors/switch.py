"""The switch of the slow lane, for every folder whose tests serve these models: its conftest.py imports both hooks."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-flavors", action="store_true", help="serve the models of the slow lane too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow-flavors"):
        for item in items:
            if item.get_closest_marker("slow_flavor"):
                item.add_marker(pytest.mark.skip(reason="slow: make test-flavors"))
