"""Resolves the model's requirements together with the inference server, and explains in the model's words where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlaz_ci.checks.conflict import Reason, is_filtered_by_date, read_conflict
from mlaz_ci.checks.explanation import explain
from mlaz_ci.checks.nearest_change import find_nearest_change
from mlaz_ci.models import Finding, Lock, Severity
from mlaz_ci.ports import Resolution, Resolver
from mlaz_ci.serving.lock import locked_packages, make_lock
from mlaz_ci.serving.matrix import MONITORING_PACKAGE, SERVER_CLOSURE, SERVER_PACKAGE, PythonSupport
from mlaz_ci.serving.requirement_files import Requirements, name_of


@dataclass(kw_only=True)
class Resolving:
    """The questions to the resolver for one model, and what they brought to light."""

    resolver: Resolver
    requirements: Requirements
    support: PythonSupport
    logged_at: datetime | None
    base_image: str
    build_from_source: bool = False
    collects_data: bool = False
    conda_packages: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    index: str = ""

    def lock(self) -> Lock | None:
        """The lock by the first range of the server that resolves; without one, a finding that says why."""
        first: Resolution | None = None
        for each in self.support.ranges:
            answer = self._ask_as_of_then((*self.requirements.pip, *self._server(each.requirement)))
            self.index = answer.index
            if answer.text is not None:
                return self._locked(answer, each.specifier)
            first = first or answer
        assert first is not None
        self._explain(first.conflict or "")
        return None

    def _server(self, requirement: str) -> tuple[str, ...]:
        named = {name_of(line) for line in self.requirements.pip}
        wants_monitoring = self.collects_data and MONITORING_PACKAGE not in named
        return (requirement, MONITORING_PACKAGE) if wants_monitoring else (requirement,)

    def _locked(self, answer: Resolution, server_range: str) -> Lock | None:
        assert answer.text is not None
        self._report_yanked(answer)
        try:
            locked_packages(answer.text)
        except ValueError as error:
            self._find(Reason.UNEXPLAINED, f"The resolved environment cannot be locked: {error}.", detail=answer.text)
            return None
        return make_lock(
            answer.text,
            python_version=self.support.minor,
            server_range=server_range,
            base_image=self.base_image,
            index_options=self.requirements.index_options,
            conda_packages=self.conda_packages,
        )

    # --- asking ---

    def _ask_as_of_then(self, lines: Sequence[str]) -> Resolution:
        """As of the time the model was logged; as of today where an index does not tell when its files were uploaded."""
        answer = self._ask(lines, exclude_newer=self.logged_at)
        if self.logged_at is None or answer.conflict is None or not is_filtered_by_date(answer.conflict):
            return answer
        today = self._ask(lines, exclude_newer=None)
        if today.text is not None:
            self._find(
                "resolved-as-of-today",
                "The requirements resolve only with packages younger than the model; today's were taken.",
                severity=Severity.NOTICE,
                usually="The package index does not tell upload times, or a required version was uploaded after the model was logged.",
                remedy="Pin the versions that matter in the model's requirements.",
            )
        return today

    def _ask(self, lines: Sequence[str], *, exclude_newer: datetime | None, prefer_lowest: bool = False) -> Resolution:
        named = {name_of(line) for line in self.requirements.pip}
        return self.resolver.resolve(
            (*self.requirements.index_options, *lines),
            python_version=self.requirements.python_version or self.support.patch,
            exclude_newer=exclude_newer,
            exempt_packages=tuple(each for each in SERVER_CLOSURE if each not in named or each == SERVER_PACKAGE),
            build_from_source=self.build_from_source,
            prefer_lowest=prefer_lowest,
        )

    def _ask_today(self, lines: Sequence[str], *, prefer_lowest: bool = False) -> str | None:
        """A changed pin means logging the model again, so what was uploaded since then counts."""
        return self._ask(lines, exclude_newer=None, prefer_lowest=prefer_lowest).text

    # --- telling ---

    def _report_yanked(self, answer: Resolution) -> None:
        for sentence in answer.warnings:
            if "is yanked" in sentence:
                self._find(
                    "package-yanked",
                    f"A package of the lock was withdrawn by its authors: {sentence}.",
                    severity=Severity.WARNING,
                    usually="The version has a defect, and is still served to those who pin it.",
                    remedy="Require a later version when the model is logged again.",
                )

    def _explain(self, with_server: str) -> None:
        text, conflict = with_server, read_conflict(with_server, self.requirements.pip)
        is_own = conflict.reason not in {Reason.INCOMPATIBLE, Reason.UNEXPLAINED}
        if not is_own:
            alone = self._ask_as_of_then(self.requirements.pip).conflict
            if alone is not None:
                is_own, text, conflict = True, alone, read_conflict(alone, self.requirements.pip)
        change = None
        if conflict.reason not in {Reason.NOT_FOUND, Reason.BUILD_FAILED}:
            server = self._server(self.support.ranges[0].requirement)
            change = find_nearest_change(self.requirements.pip, server, conflict.suspects, self._ask_today)
        self.findings.append(
            explain(
                conflict,
                change,
                is_own=is_own,
                python=self.requirements.python_version or self.support.minor,
                index=self.index,
                detail=text,
            )
        )

    def _find(
        self,
        code: str,
        what: str,
        *,
        severity: Severity = Severity.ERROR,
        usually: str = "",
        remedy: str = "",
        detail: str = "",
    ) -> None:
        self.findings.append(
            Finding(code=code, severity=severity, what=what, usually=usually, remedy=remedy, detail=detail)
        )
