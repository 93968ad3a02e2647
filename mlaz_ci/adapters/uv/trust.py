"""How far uv believes its cache: a wheel never changes under its URL, so it is asked for once (docs/decisions/0006).

An index that forgets to say so costs a request per wheel with every resolution; pages are believed as long as the index itself says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.uv.command import run_uv
from mlaz_ci.adapters.uv.indexes import Indexes

_DEFAULT_INDEX: Final = re.compile(r"(?m)^--index-url (?P<url>\S+)$")
# uv lets a variable win over the file that holds the cache control.
_DEFAULT_INDEX_VARIABLES: Final = frozenset({"UV_DEFAULT_INDEX", "UV_INDEX_URL"})
_CONFIGURATION: Final = """\
[[index]]
url = {url}
default = true
cache-control = {{ files = "max-age=365000000, immutable" }}
"""


def trust_cached_wheels(
    indexes: Indexes, environment: Mapping[str, str], folder: Path
) -> tuple[Mapping[str, str], list[str]]:
    """The environment and the options for `uv pip compile` in `folder`; no other configuration has a say."""
    (folder / "nothing.in").touch()
    ask = ["pip", "compile", "nothing.in", "--no-config", "--no-header", "--emit-index-url", "--offline"]
    told = run_uv([*ask, *indexes.options], environment=environment, folder=folder, timeout_s=30.0)
    default = _DEFAULT_INDEX.search(told.output)
    if default is None:
        return environment, ["--no-config"]
    (folder / "uv.toml").write_text(_CONFIGURATION.format(url=json.dumps(default["url"])), encoding="utf-8")
    others = {name: value for name, value in environment.items() if name not in _DEFAULT_INDEX_VARIABLES}
    return others, ["--config-file", "uv.toml"]
