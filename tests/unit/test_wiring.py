from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from mlaz_ci.errors import InvalidInput
from mlaz_ci.wiring import home_folder, with_home


def nobody_at_home(_number: int) -> pwd.struct_passwd:
    raise KeyError("uid not found")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.local/state/mlaz-ci"),
        ({"HOME": "/home/ada", "XDG_STATE_HOME": "/state"}, "/state/mlaz-ci"),
        ({"HOME": "/home/ada", "MLAZ_HOME": "/disk"}, "/disk"),
    ],
)
def test_home_folder__is_the_given_one_or_the_users(environ: dict[str, str], folder: str) -> None:
    assert home_folder(environ) == Path(folder)


def test_with_home__user_without_name_and_home__says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody_at_home)
    with pytest.raises(InvalidInput, match="no home folder") as caught:
        with_home({})
    assert "MLAZ_HOME" in caught.value.remedy_text
    assert with_home({"MLAZ_HOME": "/disk"})["HOME"] == "/disk"
