"""What we serve with, as data: Python versions, ranges of the inference server, the base image. The doctor, README and tests read it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SERVER_PACKAGE: Final = "azureml-inference-server-http"
MONITORING_PACKAGE: Final = "azureml-ai-monitoring"

# The dated tag that Microsoft's azureml-core 1.61.0.post4 itself builds on (its azureml_base_images.json). No digest is known to us.
BASE_IMAGE: Final = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"

# The glibc of that image decides which wheels can be used.
PYTHON_PLATFORM: Final = "x86_64-manylinux_2_35"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerRange:
    """A range of the inference server; `example` is a version in it that is known to serve."""

    specifier: str
    example: str

    @property
    def requirement(self) -> str:
        return f"{SERVER_PACKAGE}{self.specifier}"


_CURRENT: Final = ServerRange(specifier="==1.5.*", example="1.5.1")
_BEFORE: Final = ServerRange(specifier=">=1.4,<1.5", example="1.4.1")
_LAST_FOR_PYTHON_3_8: Final = ServerRange(specifier=">=1.2,<1.3", example="1.2.2")


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonSupport:
    """`ranges` in order of preference. `patch` stands for the minor version where a model names no patch.

    `is_declared`: the server's own package metadata names this Python.
    """

    minor: str
    patch: str
    ranges: tuple[ServerRange, ...]
    is_declared: bool = True
    is_maintained: bool = True


# 1.3.* breaks at start (it imports azureml.contrib.services) and what is older than 1.2 is not patched: never chosen.
PYTHONS: Final = (
    PythonSupport(minor="3.8", patch="3.8.18", ranges=(_LAST_FOR_PYTHON_3_8,), is_maintained=False),
    PythonSupport(minor="3.9", patch="3.9.18", ranges=(_CURRENT, _BEFORE), is_maintained=False),
    PythonSupport(minor="3.10", patch="3.10.13", ranges=(_CURRENT, _BEFORE)),
    PythonSupport(minor="3.11", patch="3.11.7", ranges=(_CURRENT, _BEFORE)),
    PythonSupport(minor="3.12", patch="3.12.1", ranges=(_CURRENT, _BEFORE)),
    PythonSupport(minor="3.13", patch="3.13.0", ranges=(_CURRENT, _BEFORE), is_declared=False),
    PythonSupport(minor="3.14", patch="3.14.0", ranges=(_CURRENT,), is_declared=False),
)

# What the server brings along. A model is resolved as of the time it was logged, and the server is often younger than that:
# these may be younger too, unless the model itself names them.
SERVER_CLOSURE: Final = (
    SERVER_PACKAGE,
    MONITORING_PACKAGE,
    "annotated-types",
    "azure-core",
    "azure-identity",
    "azure-monitor-opentelemetry-exporter",
    "blinker",
    "certifi",
    "cffi",
    "cryptography",
    "fixedint",
    "flask",
    "flask-cors",
    "gunicorn",
    "inference-schema",
    "itsdangerous",
    "msal",
    "msal-extensions",
    "msrest",
    "opencensus",
    "opencensus-context",
    "opencensus-ext-azure",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-semantic-conventions",
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "typing-extensions",
    "typing-inspection",
    "werkzeug",
)


def python_support(minor: str) -> PythonSupport | None:
    return next((each for each in PYTHONS if each.minor == minor), None)


def supported_pythons() -> str:
    """The span as a sentence has it: "3.8 to 3.14"."""
    return f"{PYTHONS[0].minor} to {PYTHONS[-1].minor}"
