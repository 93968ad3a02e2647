"""What was asked: raw texts (inputs, config file, command line, the run's origin) in, one typed Request out. Pure: it reads no file and no environment."""

from __future__ import annotations

from mlaz_ci.inputs.action import given_from_action
from mlaz_ci.inputs.command_line import HelpAsked, parse_command_line
from mlaz_ci.inputs.config import ConfigFile, parse_config
from mlaz_ci.inputs.config_secrets import lines_of_pem, secrets_of_config
from mlaz_ci.inputs.origin import Origin, origin_from_environ
from mlaz_ci.inputs.request import ParsedRequest, parse_request
from mlaz_ci.inputs.sign_in import secrets_of

__all__ = [
    "ConfigFile",
    "HelpAsked",
    "Origin",
    "ParsedRequest",
    "given_from_action",
    "lines_of_pem",
    "origin_from_environ",
    "parse_command_line",
    "parse_config",
    "parse_request",
    "secrets_of",
    "secrets_of_config",
]
