"""Byte code for what the action imports, and for no more: all of it would be a third of the image. Run by the Dockerfile, in the image's environment.

Its hashes stay unchecked, because nothing in the image changes after the build.
"""

from __future__ import annotations

import importlib
import py_compile
import sys
import warnings

# What a deploy imports on each target, with all that comes behind it.
MODULES = (
    "argparse",
    "azure.core.pipeline.transport",
    "azure.identity",
    "azureml.core.authentication",
    "azureml.core.compute",
    "azureml.core.environment",
    "azureml.core.model",
    "azureml.core.webservice",
    "docker",
    "mlflow.tracking",
    "packaging.requirements",
    "requests",
    "uv",
    "yaml",
)


def main() -> None:
    warnings.simplefilter("ignore")
    for name in MODULES:
        importlib.import_module(name)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(sys.prefix) and path.endswith(".py"):
            py_compile.compile(path, invalidation_mode=mode, doraise=True)


if __name__ == "__main__":
    main()
