"""Why Entra did not recognise a workflow, in words: the subject that GitHub sent, its other form, and the credential to make. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlaz_ci.report.text import clip, one_line

# https://learn.microsoft.com/entra/workload-id/workload-identities-github-immutable-subjects
_IMMUTABLE_SINCE: Final = "July 15, 2026"
_SHOWN_CHARS: Final = 300
_NAME_CHARS: Final = 120
_AUDIENCE: Final = 700212
_NO_SUBJECT: Final = "No federated credential of the application has exactly this subject."
_CAUSES: Final = {
    700211: "No federated credential of the application names this issuer.",
    _AUDIENCE: "The federated credential for this subject names another audience.",
    7002138: "A federated credential's subject differs from the one sent in capital letters alone, and they count; where both look equal, delete that credential and make it anew.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Subjects:
    """The subject as it was sent, and both of GitHub's default forms where it is one of them."""

    sent: str
    by_name: str | None = None
    by_id: str | None = None


def read_subjects(claims: Mapping[str, Any]) -> Subjects:
    """GitHub's two forms: repo:<owner>/<name>:<context> and repo:<owner>@<id>/<name>@<id>:<context>."""
    sent = _text(claims, "sub")
    owner, _, name = _text(claims, "repository").partition("/")
    prefix_by_name = f"repo:{owner}/{name}:"
    prefix_by_id = f"repo:{owner}@{_text(claims, 'repository_owner_id')}/{name}@{_text(claims, 'repository_id')}:"
    for prefix in (prefix_by_name, prefix_by_id):
        if owner and name and sent.startswith(prefix):
            context = sent.removeprefix(prefix)
            by_id = prefix_by_id + context if "@/" not in prefix_by_id and "@:" not in prefix_by_id else None
            return Subjects(sent=sent, by_name=prefix_by_name + context, by_id=by_id)
    return Subjects(sent=sent)


def explain_mismatch(code: int, claims: Mapping[str, Any]) -> str:
    """The cause, with what the runner's token says of itself."""
    subjects = read_subjects(claims)
    sent = (
        f"GitHub sent the subject {_quoted(subjects.sent)}, the issuer {_quoted(_text(claims, 'iss'))} "
        f"and the audience {_quoted(_text(claims, 'aud'))}"
    )
    if subjects.by_name and subjects.by_id:
        forms = (
            f"In the name form it is {_quoted(subjects.by_name)}, in the immutable-id form {_quoted(subjects.by_id)}; "
            f"GitHub sends one of them, the one with ids for repositories made, renamed or transferred since {_IMMUTABLE_SINCE} and for those that chose it"
        )
    else:
        forms = "This repository or its organization composes its subjects by a template of its own"
    return f"{_CAUSES.get(code, _NO_SUBJECT)} {sent}. {forms}."


def advise_credential(code: int, claims: Mapping[str, Any], *, client_id: str, default_audience: str) -> str:
    """The remedy: the exact fields, and the command that sets them."""
    issuer, subject, audience = (_text(claims, name) for name in ("iss", "sub", "aud"))
    fields = f"issuer {_quoted(issuer)}, subject {_quoted(subject)}, audience {_quoted(audience)}"
    begin = f"Give the application a federated credential with exactly {fields}:"
    if code == _AUDIENCE and audience != default_audience:
        begin = f"Leave `audience` out, so that {_quoted(default_audience)} is sent, or set {fields}:"
    credential: dict[str, Any] = {"issuer": issuer, "subject": subject, "audiences": [audience]}
    verb = "update --federated-credential-id ID"
    if code != _AUDIENCE:  # there the pair of issuer and subject is taken already, and must be unique
        verb, credential = "create", {"name": _credential_name(subject), **credential}
    parameters = shlex.quote(json.dumps(credential))
    command = f"az ad app federated-credential {verb} --id {shlex.quote(client_id)} --parameters {parameters}"
    return (
        f"{begin} {_code(command)}. Where `client-id` is a user-assigned managed identity, "
        "`az identity federated-credential create` takes the same three."
    )


def _credential_name(subject: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"github {subject}").strip("-")[:_NAME_CHARS]


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if isinstance(value, list):
        value = value[0] if value else ""
    return one_line(str(value))


def _quoted(text: str) -> str:
    return _code(clip(text, _SHOWN_CHARS))


def _code(text: str) -> str:
    return text if "`" in text else f"`{text}`"
