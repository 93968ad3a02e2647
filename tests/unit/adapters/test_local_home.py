from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_process.home import Home, copy_folder, locked, remove, sweep_leftovers, write_text
from mlaz_ci.errors import InvalidInput, ServiceBusy
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", ".hidden", "a\0b"])
def test_home__name_that_leads_elsewhere__is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        Home(tmp_path).deployment("churn", name)
    with pytest.raises(InvalidInput):
        Home(tmp_path).service(name)


def test_write_text__folder_is_gone__leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "gone" / "record", "x")
    write_text(tmp_path / "record", "old")
    write_text(tmp_path / "record", "new")
    assert (tmp_path / "record").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["record"]
    assert (tmp_path / "record").stat().st_mode & 0o077 == 0


def test_copy_folder__linked__shares_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "source/inner").mkdir(parents=True)
    (tmp_path / "source/inner/weights").write_text("w")
    copy_folder(tmp_path / "source", tmp_path / "linked", link=True)
    copy_folder(tmp_path / "source", tmp_path / "copied", link=False)
    source = tmp_path / "source/inner/weights"
    assert (tmp_path / "linked/inner/weights").samefile(source)
    assert not (tmp_path / "copied/inner/weights").samefile(source)
    assert (tmp_path / "copied/inner/weights").read_text() == "w"


def test_copy_folder__source_is_gone__is_an_error_and_no_empty_copy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_folder(tmp_path / "gone", tmp_path / "copied", link=True)


def test_copy_folder__inner_folder_cannot_be_listed__is_an_error(tmp_path: Path) -> None:
    inner = tmp_path / "source/inner"
    inner.mkdir(parents=True)
    inner.chmod(0)
    if os.access(inner, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(PermissionError):
        copy_folder(tmp_path / "source", tmp_path / "copied", link=False)


@pytest.mark.parametrize("home", ["file", "file/deep/er", "dangling", "dangling/deeper"])
def test_check__something_else_is_in_the_way__names_it_and_mlaz_home(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=rf"MLAZ_HOME .*{home.partition('/')[0]} is not a folder"):
        Home(tmp_path / home).check()


def test_check__services_is_a_file__is_refused(tmp_path: Path) -> None:
    (tmp_path / "services").write_text("")
    with pytest.raises(InvalidInput, match="services is not a folder"):
        Home(tmp_path).check()


def test_check__may_not_be_written__is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(InvalidInput, match="may not be written"):
        Home(tmp_path / "home").check()


def test_check__not_there_yet__is_fine_and_makes_nothing(tmp_path: Path) -> None:
    Home(tmp_path / "a" / "home").check()
    assert list(tmp_path.iterdir()) == []


def test_sweep_leftovers__what_was_cut_in_the_middle__is_removed(tmp_path: Path) -> None:
    for name in (".trash-g1-00", ".staging-g2", "g3"):
        (tmp_path / name / "inner").mkdir(parents=True)
    sweep_leftovers(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["g3"]
    remove(tmp_path / "g3")
    remove(tmp_path / "never there")
    assert list(tmp_path.iterdir()) == []


def test_locked__held__the_next_one_is_told_by_whom_and_gets_it_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "churn"
    clock = FakeClock()
    with locked(folder, clock, "staging g1"):
        with (
            pytest.raises(
                ServiceBusy, match=rf'Service "churn" is being changed: staging g1, pid {os.getpid()}, since 2026-'
            ),
            locked(folder, clock, "staging g2", wait_s=5.0),
        ):
            pytest.fail("two at once")
        assert clock.now_s() >= 5.0
    with locked(folder, clock, "staging g2", wait_s=0.0):
        pass


def test_locked__the_folder_is_deleted_by_the_holder__the_waiter_locks_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "churn"
    seen = []

    def wait() -> None:
        with locked(folder, SystemClock(), "staging g1", wait_s=20.0) as descriptor:
            seen.append(os.path.samestat(os.fstat(descriptor), (folder / "service.lock").stat()))

    waiter = threading.Thread(target=wait)
    with locked(folder, SystemClock(), "deleting"):
        waiter.start()
        remove(folder)
    waiter.join()
    assert seen == [True]
