from __future__ import annotations

from pathlib import Path

import pytest

from mlaz_ci.adapters.local_process.log import last_exception, tail

WRAPPED = """\
2026-08-17 12:00:00 E [7] azmlinfsrv - User's init function failed
2026-08-17 12:00:00 E [7] azmlinfsrv - Encountered Exception Traceback (most recent call last):
  File "user_script.py", line 119, in invoke_init
    self._user_init()
  File "score.py", line 69, in init
    raise {raised}
{raised}

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "aml_blueprint.py", line 91, in setup
    self.user_script.invoke_init()
azureml_inference_server_http.server.user_script.UserScriptException: Caught an unhandled exception from the user script
2026-08-17 12:00:01 I [1] gunicorn.error - Shutting down: Master
"""


@pytest.mark.parametrize(
    "raised", ["ModuleNotFoundError: No module named 'xgboost'", "my.package.Boom", "Boom: a: b", "SystemExit: 3"]
)
def test_last_exception__the_server_wrapped_it__is_the_scripts_own(raised: str) -> None:
    assert last_exception(WRAPPED.format(raised=raised)) == raised


def test_last_exception__log_without_a_traceback__is_nothing() -> None:
    assert last_exception("Error: something\nValueError: printed by nobody's traceback\n") == ""


def test_last_exception__a_megabyte_in_one_line__is_cut() -> None:
    text = "Traceback (most recent call last):\n  File x\nValueError: " + "x" * 1_000_000
    assert len(last_exception(text)) == 300


def test_tail__bytes_that_are_no_text__are_shown_replaced(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\xff\xfe two\nthree\n")
    assert tail(log, 2) == "\ufffd\ufffd two\nthree"
    assert tail(log, 0) == ""
    assert tail(tmp_path / "absent", 5) == ""
