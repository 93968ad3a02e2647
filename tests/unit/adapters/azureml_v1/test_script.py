from __future__ import annotations

import io
import tarfile

from mlaz_ci.adapters.azureml_v1.following import _lines
from mlaz_ci.adapters.azureml_v1.script import DRIVER, make_script


def test_script__equal_files__are_equal_bytes_under_an_equal_name() -> None:
    one, other = make_script({"a.json": "1", "b.json": "2"}), make_script({"b.json": "2", "a.json": "1"})
    assert one == other
    assert make_script({"a.json": "3"}).container != one.container


def test_script__archive__unpacks_to_one_folder_without_owner_or_time() -> None:
    script = make_script({"score.py": "", "swagger.json": "{}"})
    content = next(each.content for each in script.parcels if each.path != DRIVER)
    assert isinstance(content, bytes)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        entries = archive.getmembers()
    assert [each.name for each in entries] == ["mlaz/score.py", "mlaz/swagger.json"]
    assert {(each.uid, each.mtime, each.mode) for each in entries} == {(0, 0, 0o644)}


def test_script__driver__runs_the_script_beside_it() -> None:
    driver = next(each.content for each in make_script({}).parcels if each.path == DRIVER)
    assert isinstance(driver, bytes)
    names = set(compile(driver, "main.py", "exec").co_names)
    assert {"init", "run"} <= names


def test_log__in_pieces__is_lines_with_their_time() -> None:
    pieces = ["20261101120000|Building", " the image#2026110112", "0130|Done#odd", "#x|y"]
    assert _lines(pieces) == ["12:00:00 Building the image", "12:01:30 Done", "odd", "x|y"]
