"""A Resolver over a handful of packages given as a table. It speaks as uv 0.13 does; `test_doctor_parity.py` holds it to that.

`write_packages` makes the same table real: wheels and source archives that uv itself can be asked about, without a network.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlaz_ci.errors import MlazError
from mlaz_ci.ports import Resolution


@dataclass(frozen=True, kw_only=True)
class Package:
    name: str
    version: str
    needs: tuple[str, ...] = ()
    python: str = ">=3.8"
    has_wheel: bool = True


class _Clash(Exception):
    """No solution; the message is the explanation."""


@dataclass
class FakeResolver:
    """Works: picks the highest versions that agree, or explains the first clash. `asked` remembers every question."""

    packages: Sequence[Package]
    interpreters: tuple[str, ...] = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
    index: str = ""
    warnings: tuple[str, ...] = ()
    knows_upload_times: bool = True
    failure: MlazError | None = None
    asked: list[tuple[str, ...]] = field(default_factory=list)
    exempted: list[tuple[str, ...]] = field(default_factory=list)

    def resolve(
        self,
        requirements: Sequence[str],
        *,
        python_version: str,
        exclude_newer: datetime | None,
        exempt_packages: Sequence[str] = (),
        build_from_source: bool = False,
        prefer_lowest: bool = False,
    ) -> Resolution:
        self.asked.append(tuple(requirements))
        self.exempted.append(tuple(exempt_packages))
        if self.failure:
            raise self.failure
        lines = [Requirement(each) for each in requirements if not each.startswith("--")]
        if exclude_newer is not None and not self.knows_upload_times:
            name = lines[0].name
            return Resolution(
                conflict=f"Because there are no versions of {name} and you require {name}, we can conclude that your "
                f"requirements are unsatisfiable.\n\nhint: `{name}` was filtered by `exclude-newer`",
                index=self.index,
            )
        try:
            chosen = self._solve(lines, Version(python_version), may_build=build_from_source, is_lowest=prefer_lowest)
        except _Clash as clash:
            text = f"error: No solution found when resolving dependencies\n  cause: {clash}"
            return Resolution(conflict=text, index=self.index)
        text = "".join(locked_entry(name, version) for name, version in sorted(chosen.items()))
        return Resolution(text=text, warnings=self.warnings, index=self.index)

    def python_path(self, python_version: str) -> Path | None:
        minor = ".".join(python_version.split(".")[:2])
        return Path(f"/usr/bin/python{minor}") if minor in self.interpreters else None

    def _solve(
        self, lines: Sequence[Requirement], python: Version, *, may_build: bool, is_lowest: bool
    ) -> Mapping[str, str]:
        direct = {line.name for line in lines}
        first_clash: list[str] = []

        def extend(
            wanted: tuple[tuple[str, Requirement], ...], chosen: dict[str, Package]
        ) -> dict[str, Package] | None:
            open_ = next((each for _, each in wanted if each.name not in chosen), None)
            if open_ is None:
                return chosen
            name = open_.name
            try:
                candidates = list(self._candidates(name, wanted, python, may_build=may_build))
            except _Clash as clash:
                first_clash.append(str(clash))
                return None
            if is_lowest and name in direct:
                candidates.reverse()
            for package in candidates:
                new = tuple((f"{name}=={package.version}", Requirement(need)) for need in package.needs)
                clash_ = next((each for each in new if _is_broken(each, chosen)), None)
                if clash_:
                    first_clash.append(
                        _explain_pair([each for each in (*wanted, clash_) if each[1].name == clash_[1].name])
                    )
                    continue
                solved = extend((*wanted, *new), {**chosen, name: package})
                if solved is not None:
                    return solved
            return None

        solved = extend(tuple(("", line) for line in lines), {})
        if solved is None:
            raise _Clash(first_clash[0])
        return {name: package.version for name, package in solved.items()}

    def _candidates(
        self, name: str, wanted: Sequence[tuple[str, Requirement]], python: Version, *, may_build: bool
    ) -> Iterator[Package]:
        about = [each for each in wanted if each[1].name == name]
        known = [each for each in self.packages if each.name == name]
        line = f"{name}{about[0][1].specifier}"
        if not known:
            raise _Clash(_conclude(f"{name} was not found in the package registry", f"you require {line}"))
        known.sort(key=lambda each: Version(each.version), reverse=True)
        fitting = [each for each in known if all(each.version in need.specifier for _, need in about)]
        if not fitting and len(about) == 1:
            raise _Clash(_conclude(f"there is no version of {line}", f"you require {line}"))
        if not fitting:
            raise _Clash(_explain_pair(about))
        of_python = [each for each in fitting if python in SpecifierSet(each.python)]
        if not of_python:
            package = fitting[0]
            one = f"the requested Python version (>={python}) does not satisfy Python{package.python}"
            raise _Clash(_conclude(one, f"{name}=={package.version} depends on Python{package.python}"))
        usable = [each for each in of_python if each.has_wheel or may_build]
        if not usable:
            one = f"{name}=={of_python[0].version} has no usable wheels"
            hint = (
                f"\n\nhint: Wheels are required for `{name}` because building from source is disabled for all packages"
            )
            raise _Clash(_conclude(one, f"you require {line}") + hint)
        yield from usable


def locked_entry(name: str, version: str) -> str:
    digest = hashlib.sha256(f"{name}=={version}".encode()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n"


def _is_broken(need: tuple[str, Requirement], chosen: Mapping[str, Package]) -> bool:
    package = chosen.get(need[1].name)
    return package is not None and package.version not in need[1].specifier


def _explain_pair(about: Sequence[tuple[str, Requirement]]) -> str:
    clauses = [
        f"{who} depends on {need.name}{need.specifier}" if who else f"you require {need.name}{need.specifier}"
        for who, need in about
    ]
    return _conclude(*sorted(clauses, key=lambda each: each.startswith("you")))


def _conclude(*clauses: str) -> str:
    return f"Because {' and '.join(clauses)}, we can conclude that your requirements are unsatisfiable."


def write_packages(packages: Sequence[Package], folder: Path) -> None:
    """The table as files for `--find-links`."""
    for package in packages:
        if package.has_wheel:
            _write_wheel(package, folder)
        else:
            write_sdist(package, folder)


def _metadata(package: Package) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {package.name}", f"Version: {package.version}"]
    lines.append(f"Requires-Python: {package.python}")
    lines += [f"Requires-Dist: {need}" for need in package.needs]
    return "\n".join(lines) + "\n"


def _write_wheel(package: Package, folder: Path) -> None:
    stem = f"{package.name.replace('-', '_')}-{package.version}"
    files = {
        f"{stem}.dist-info/METADATA": _metadata(package),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files) + f"{stem}.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)


def write_sdist(package: Package, folder: Path, *, setup: str = "from setuptools import setup\nsetup()\n") -> Path:
    """A source archive without static metadata: its setup.py must run before anything is known of it."""
    stem = f"{package.name.replace('-', '_')}-{package.version}"
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"PKG-INFO": _metadata(package), "setup.py": setup}.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
