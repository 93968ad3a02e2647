from __future__ import annotations

from typing import Any

import pytest

from mlaz_ci.inputs.yaml_text import YamlProblem, compose, plain_value


def read(text: str) -> Any:
    node = compose(text)
    assert node is not None
    return plain_value(node)


def test_plain_value__all_that_json_has__is_kept() -> None:
    text = "a: x\nb: no\nc: 2\nd: 0.5\ne:\nf: {g: [h, 1]}\ni: 2026-01-02\n"
    assert read(text) == {"a": "x", "b": False, "c": 2, "d": 0.5, "e": None, "f": {"g": ["h", 1]}, "i": "2026-01-02"}


@pytest.mark.parametrize("value", ["!!python/object:os.system x", "[!x 1]", "{a: 1, a: 2}", "9" * 5000])
def test_plain_value__beyond_json__is_a_problem_with_its_place(value: str) -> None:
    with pytest.raises(YamlProblem) as raised:
        read(f"x: {value}")
    assert raised.value.place.line == 1
