from __future__ import annotations

import pytest

from mlaz_ci.checks.start_failure import explain_start_failure


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("ModuleNotFoundError: No module named 'xgboost'", "module xgboost"),
        ("ImportError: libGL.so.1: cannot open shared object file", "library libGL.so.1"),
        ("_pickle.UnpicklingError: invalid load key, 'v'.", "UnpicklingError"),
        ("AttributeError: Can't get attribute 'Net' on <module '__main__'>", "Can't get attribute 'Net'"),
        ("ValueError: unsupported pickle protocol: 5", "unsupported pickle protocol: 5"),
        ("numpy.dtype size changed, may indicate binary incompatibility", "another version than at training"),
        ("Worker (pid:9) was sent SIGKILL! Perhaps out of memory?", "memory"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("[Errno 98] Address already in use", "took the port"),
    ],
)
def test_explain_start_failure__known_pattern__names_the_cause(log: str, word: str) -> None:
    usually, remedy = explain_start_failure(f"noise\n{log}\nmore noise")
    assert usually is not None
    assert word in usually
    assert remedy


def test_explain_start_failure__several__takes_the_last() -> None:
    usually, _ = explain_start_failure("MemoryError\nModuleNotFoundError: No module named 'a'")
    assert usually is not None
    assert "module a" in usually


def test_explain_start_failure__unknown__says_nothing() -> None:
    assert explain_start_failure("all went well") == (None, None)
