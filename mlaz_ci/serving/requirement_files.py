"""Reads the requirement files beside an MLmodel. They are written by strangers: any text gives values and findings, never an exception.

Pure. What the model asks for is told apart here; what becomes of it is the checks' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from mlaz_ci.models import Finding, ModelFacts, Severity
from mlaz_ci.serving.conda_file import CondaFile, read_conda_file
from mlaz_ci.serving.lock import minor_of
from mlaz_ci.serving.surroundings import mask_user_info

_URL_WITH_USER: Final = re.compile(r"\b(?:https?|ftp)://[^/\s'\"@]+@(?P<host>[\w.-]*)")
_PYTHON: Final = re.compile(r"(?P<version>\d+\.\d+(?:\.\d+)?)")
_OPTION: Final = re.compile(r"(?P<name>--?[A-Za-z][A-Za-z-]*)(?:[ =]\s*|(?=https?://))?(?P<value>.*)")
_VERSION_CONTROL: Final = re.compile(r"(?:^|@\s*)(?:git|hg|svn|bzr)(?:\+|://|@)")
_INDEX_NAMES: Final = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirements:
    """What a model asks for. `pip` are PEP 508 lines with normalised names; `conda_packages` are neither python nor pip.

    `index_options` are whole lines (`--extra-index-url https://…`); `file_name` is the file that `pip` was read from, or "".
    """

    python_version: str | None = None
    pip: tuple[str, ...] = ()
    index_options: tuple[str, ...] = ()
    conda_packages: tuple[str, ...] = ()
    file_name: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Reading:
    """What one pass over the lines has gathered so far."""

    pip: list[str] = field(default_factory=list)
    index_options: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, code: str, severity: Severity, what: str, usually: str, remedy: str) -> None:
        self.findings.append(
            Finding(code=code, severity=severity, what=mask_user_info(what), usually=usually, remedy=remedy)
        )


def read_requirements(facts: ModelFacts) -> Requirements:
    """requirements.txt, else the pip section of conda.yaml; Python from the pyfunc flavor, python_env.yaml, conda.yaml."""
    reading = _Reading()
    files = facts.requirement_files
    conda = read_conda_file(files.get("conda.yaml", ""))
    if conda is None:
        _not_understood("dependencies", "conda.yaml", reading, "it is not a conda environment file")
        conda = CondaFile()
    if "requirements.txt" in files:
        file_name, lines = "requirements.txt", tuple(files["requirements.txt"].splitlines())
    else:
        file_name, lines = ("conda.yaml" if conda.pip else ""), conda.pip
    _refuse_user_info(files, reading)
    for line in _logical_lines(lines):
        _read_line(line, file_name, reading)
    return Requirements(
        python_version=_python_version(facts, conda, reading),
        pip=tuple(dict.fromkeys(reading.pip)),
        index_options=tuple(dict.fromkeys(reading.index_options)),
        conda_packages=conda.packages,
        file_name=file_name,
        findings=tuple(reading.findings),
    )


def replaced(requirements: tuple[str, ...], name: str, line: str) -> tuple[str, ...]:
    """The requirements with those on `name` replaced by one line."""
    kept = tuple(each for each in requirements if name_of(each) != name)
    return (*kept, line)


def name_of(line: str) -> str:
    return canonicalize_name(Requirement(line).name)


def _refuse_user_info(files: Mapping[str, str], reading: _Reading) -> None:
    for name, text in sorted(files.items()):
        if match := _URL_WITH_USER.search(text):
            host = match["host"] or "a host"
            reading.find(
                "index-url-with-credentials",
                Severity.ERROR,
                f"{name} of the model has a URL of {host} with a user name or password in it.",
                "It was in the index settings of the machine that logged the model, and would be uploaded with the environment.",
                "Log the model again with a plain URL; pass credentials as UV_INDEX_<NAME>_USERNAME/PASSWORD, and treat these as leaked.",
            )


def _logical_lines(lines: tuple[str, ...]) -> Iterator[str]:
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    for line in joined.split("\n"):
        bare = re.sub(r"(?:^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def _read_line(line: str, file_name: str, reading: _Reading) -> None:
    if "${" in line:
        # uv would fill in variables of ours.
        _not_understood(line, file_name, reading, "a variable in it is not filled in")
    elif line.startswith("-"):
        _read_option(line, file_name, reading)
    elif _VERSION_CONTROL.search(line):
        reading.find(
            "requirement-from-version-control",
            Severity.ERROR,
            f"{file_name} asks for {line[:120]}: a package from version control.",
            "It was installed from a repository when the model was logged; it has no hash, and would be built from source by whoever serves it.",
            "Publish the package to an index, or log its code with the model (`code_paths=[…]`) and drop the line.",
        )
    else:
        _read_package(line, file_name, reading)


def _read_package(line: str, file_name: str, reading: _Reading) -> None:
    bare = re.split(r"\s+--(?:hash|config-settings|global-option|install-option)", line)[0]
    if _looks_like_path(bare):
        _local_path(line, file_name, reading)
        return
    try:
        requirement = Requirement(_named_wheel(bare) or bare)
        # The grammar of a requirement takes names that no package can have, `0_` for one.
        name = canonicalize_name(requirement.name, validate=True)
    except (InvalidRequirement, InvalidName) as error:
        _not_understood(line, file_name, reading, str(error).splitlines()[0])
        return
    if requirement.url and not requirement.url.startswith("https://"):
        if requirement.url.startswith("http://"):
            _not_understood(line, file_name, reading, "a package over plain http can be changed on its way")
        else:
            _local_path(line, file_name, reading)
        return
    requirement.name = name
    reading.pip.append(str(requirement))


def _looks_like_path(line: str) -> bool:
    if "://" in line:
        return line.lower().startswith("file:")
    return re.search(r"[/\\]|\.(?:whl|zip|tar\.\w+)(?:\[|$)|^file:", line, re.IGNORECASE) is not None


def _named_wheel(line: str) -> str | None:
    """`https://host/name-1.0-py3-none-any.whl` as `name @ https://…`, else None."""
    if not re.match(r"https?://\S+$", line):
        return None
    try:
        name, *_ = parse_wheel_filename(unquote(urlsplit(line).path.rpartition("/")[2]))
    except (InvalidWheelFilename, ValueError):
        return None
    return f"{name} @ {line}"


def _read_option(line: str, file_name: str, reading: _Reading) -> None:
    match = _OPTION.match(line)
    name, value = (match["name"], match["value"].strip()) if match else (line, "")
    if name in _INDEX_NAMES:
        _read_index(_INDEX_NAMES[name], value, line, file_name, reading)
    elif name in {"-e", "--editable"}:
        _local_path(line, file_name, reading)
    elif name in {"-c", "--constraint"}:
        reading.find(
            "constraints-not-read",
            Severity.WARNING,
            f"{file_name} names a constraints file ({value[:80]}), which is not read.",
            "The model was logged with `-c` in its pip requirements.",
            "Log the model with the constrained versions as requirements if it needs them.",
        )
    else:
        _not_understood(line, file_name, reading, f"{name} is not supported here")


def _read_index(option: str, value: str, line: str, file_name: str, reading: _Reading) -> None:
    if _URL_WITH_USER.search(value):
        return  # told once for the whole file
    if not re.fullmatch(r"https://[^\s@]+", value):
        if value.startswith("http://"):
            _not_understood(line, file_name, reading, "an index over plain http can be changed on its way")
        else:
            _local_path(line, file_name, reading)
        return
    reading.index_options.append(f"{option} {value}")
    reading.find(
        "model-names-an-index",
        Severity.NOTICE,
        f"{file_name} of the model names a package index of its own: {value[:120]}.",
        "The model needs packages that the default index does not have. The index is asked here and written into the lock.",
        "Nothing, if you trust that index; else log the model again without the line.",
    )


def _local_path(line: str, file_name: str, reading: _Reading) -> None:
    reading.find(
        "requirement-from-local-path",
        Severity.ERROR,
        f"{file_name} asks for {line[:120]}: a place on the machine that logged the model.",
        "The package was installed from a folder or file there (`pip install -e .`, a wheel, conda's `@ file:///…`); no other machine has it.",
        "Log its code with the model (`code_paths=[…]`), or publish the package and require it by name.",
    )


def _not_understood(line: str, file_name: str, reading: _Reading, why: str) -> None:
    reading.find(
        "requirement-not-understood",
        Severity.ERROR,
        f"{file_name or 'The requirement file'} has a line that cannot be used: {line[:120]} ({why[:160]}).",
        "The line was written by hand, or by a tool with a form of its own.",
        "Correct or drop the line in the model's requirements and log the model again.",
    )


def _python_version(facts: ModelFacts, conda: CondaFile, reading: _Reading) -> str | None:
    env = re.search(r"(?m)^python:\s*['\"]?(\d+\.\d+(?:\.\d+)?)", facts.requirement_files.get("python_env.yaml", ""))
    flavor = _PYTHON.match(facts.python_version or "")
    told = {
        "MLmodel": flavor["version"] if flavor else None,
        "python_env.yaml": env[1] if env else None,
        "conda.yaml": conda.python_version,
    }
    known = {place: version for place, version in told.items() if version}
    if len({minor_of(each) for each in known.values()}) > 1:
        listed = ", ".join(f"{place} {version}" for place, version in known.items())
        reading.find(
            "python-versions-disagree",
            Severity.WARNING,
            f"The model's files name different Python versions: {listed}; the first is used.",
            "One of the files was edited after the model was logged.",
            "Log the model again under the Python it is to be served with.",
        )
    return next(iter(known.values()), None)
