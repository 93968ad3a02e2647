"""Carries out a Plan through the ports, and records every mutation with its time. It never decides what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from mlaz_ci.errors import ExitCode, MlazError, NotReachable, SmokeTestFailed
from mlaz_ci.execute.download import Download, model_folder
from mlaz_ci.execute.run_ports import Ports, known
from mlaz_ci.execute.verifying import Verdict, await_healthy, verify
from mlaz_ci.models import DeploymentSpec, Lock, ModelRef, Mutation, ScoreResponse, Timing
from mlaz_ci.plan import (
    AwaitHealthy,
    BuildEnvironment,
    Change,
    CreateService,
    DeleteCompute,
    DeleteModelVersion,
    DeleteService,
    EnsureCluster,
    FetchModel,
    MirrorTraffic,
    Plan,
    RegisterModel,
    RestartDeployment,
    RestoreDeployment,
    RetireDeployment,
    RetireOlder,
    Shared,
    ShareTraffic,
    ShiftTraffic,
    StartDeployment,
    Step,
    Together,
    UpdateDeployment,
    UploadCode,
    Verify,
)
from mlaz_ci.ports import Progress

_UNDO_S = 600.0
# Who answers so did nothing.
_REFUSALS = frozenset({ExitCode.AUTHENTICATION, ExitCode.NOT_FOUND, ExitCode.CONFLICT})


@dataclass(slots=True)
class _Removal:
    was_there: bool = True


@dataclass(kw_only=True)
class Execution:
    """One plan being carried out. What it did so far can be read at any moment, also after a failure."""

    ports: Ports
    deadline_s: float
    mutations: list[Mutation] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    smoke_test: ScoreResponse | None = None
    is_unverified: bool = False
    has_changed: bool = False
    has_shifted: bool = False
    lost: list[str] = field(default_factory=list)
    """What made way for something else, in sentences, as long as nothing serves in its place."""
    has_committed: bool = False
    """The traffic is with what was verified: what fails from here on, the end of the old, takes nothing back."""
    registered: ModelRef | None = None
    _download: Download | None = None

    def carry_out(self, plan: Plan) -> None:
        """Every step in order; when one fails, the plan's undo, and the failure is raised again."""
        if plan.carries_on:
            self._carry_out_each(plan.steps)
            return
        try:
            for number, step in enumerate(plan.steps):
                to_verify = any(isinstance(each, Verify) for each in plan.steps[number:])
                self.has_committed = self.has_shifted and not to_verify
                self._carry_out_step(step)
        except BaseException as error:
            if isinstance(error, SmokeTestFailed) and plan.serves_at_once:
                error.remedy_text = (
                    "Read the answer above; whoever called the service meanwhile was answered by this deployment too."
                )
            if isinstance(error, NotReachable) and plan.keeps_unreachable:
                self.left_behind.append(
                    f'Deployment "{plan.deployment_name}" is healthy and was kept without traffic: it could not be reached from here.'
                )
                self._release(plan)
            else:
                self._undo(plan)
            self.left_behind += self.lost
            raise

    def _carry_out_each(self, steps: Sequence[Step]) -> None:
        """All of them, whatever fails; then the first failure, with what it and the others left."""
        first: MlazError | None = None
        for step in steps:
            try:
                self._carry_out_step(step)
            except MlazError as error:
                self.left_behind.append(f"Could not {step.describe()}: {error.what}")
                first = first or error
        if first is not None:
            raise first

    def _undo(self, plan: Plan) -> None:
        """Take back what this run began. A failure here is told and never hides the first one."""
        if not self.has_changed or self.has_committed:
            return
        if not plan.undo:
            self._release(plan)
        # What is put back is waited for at the deadline too.
        self.deadline_s = max(self.deadline_s, self.ports.clock.now_s() + _UNDO_S)
        is_whole = True
        for step in plan.undo:
            try:
                for each in self._own_part(step, plan.deployment_name):
                    self._carry_out_step(each)
            except MlazError as error:
                is_whole = False
                later = " Once Azure is through with it, `command: rollback` does." if error.retryable else ""
                self.left_behind.append(f"Could not {step.describe()}: {error.what}{later}")
        restored = [each for each in plan.undo if isinstance(each, RestoreDeployment)]
        if is_whole and restored:
            self.left_behind.append(self._restored(restored[0]))
            self.lost.clear()

    def _restored(self, step: RestoreDeployment) -> str:
        if not self.lost:
            return f'Service "{step.service_name}" serves deployment "{step.deployment_name}" again, as before.'
        # One that was made anew may answer elsewhere.
        service = self.ports.serving.snapshot(step.service_name).service
        uri = service.scoring_uri if service else None
        return f'Service "{step.service_name}" was made anew as it was, with deployment "{step.deployment_name}"; it answers at {uri}.'

    def _release(self, plan: Plan) -> None:
        """Best effort: whoever waits for a run that has ended waits for some minutes at most."""
        waits = [step for step in plan.steps if isinstance(step, AwaitHealthy)]
        if self.ports.endpoints is None or not waits or self.has_shifted:
            return
        with suppress(MlazError):
            self.ports.endpoints.release(waits[0].service_name, waits[0].deployment_name)

    def _own_part(self, step: Step, deployment_name: str | None) -> Sequence[Step]:
        """A service that another run has put its own deployment in since is not ours alone to delete."""
        if not isinstance(step, DeleteService):
            return (step,)
        service = self.ports.serving.snapshot(step.service_name).service
        there = {each.name for each in service.deployments} if service else set()
        if there <= {deployment_name}:
            return (step,)
        if deployment_name is None or deployment_name not in there:
            return ()
        return (RetireDeployment(service_name=step.service_name, deployment_name=deployment_name, keep_files=False),)

    def _carry_out_step(self, step: Step) -> None:
        match step:
            case Together():
                self._together(step.steps)
            case FetchModel():
                self._download = Download(self.ports, step.model)
            case RegisterModel():
                self._register(step)
            case BuildEnvironment():
                self._build(step.lock)
            case EnsureCluster() | DeleteModelVersion() | DeleteCompute():
                self._change_shared(step)
            case UploadCode():
                with self._phase("upload the scoring script"):
                    known(self.ports.endpoints).prepare(step.spec)
            case AwaitHealthy():
                with self._phase("start the service"):
                    await_healthy(self.ports, step, deadline_s=self.deadline_s)
            case Verify():
                with self._phase("smoke test"):
                    self._judge(verify(self.ports, step))
            case _:
                self._change(step)

    def _change(self, step: Change) -> None:
        """The steps that change a service; each is on record before it begins."""
        serving = self.ports.serving
        match step:
            case CreateService():
                self._record("created", step.spec.service_name)
                with self._phase("create the endpoint"):
                    known(self.ports.endpoints).create_service(step.spec)
            case StartDeployment():
                self._start(step.spec)
            case UpdateDeployment():
                spec = self._with_registered(step.spec)
                self._record("updated", f"{spec.service_name}/{spec.deployment_name}")
                known(self.ports.in_place).update(spec)
            case RestoreDeployment():
                self._record("put back", f"{step.service_name}/{step.deployment_name}")
                known(self.ports.in_place).restore(step.service_name, step.deployment_name)
            case RestartDeployment():
                self._record("started", f"{step.service_name}/{step.deployment_name}")
                with self._phase("restart the deployment"):
                    serving.start(step.service_name, step.deployment_name)
            case ShareTraffic() | MirrorTraffic() | ShiftTraffic():
                self._move_traffic(step)
            case RetireDeployment():
                self._record("stopped", f"{step.service_name}/{step.deployment_name}")
                with self._phase("drain and stop"):
                    serving.retire(step.service_name, step.deployment_name, keep_files=step.keep_files)
            case RetireOlder():
                self._retire_older(step)
            case DeleteService():
                self._delete(step)
            case _:
                assert_never(step)

    def _change_shared(self, step: Shared) -> None:
        match step:
            case EnsureCluster():
                with self._phase("ensure the cluster") as progress:
                    made = known(self.ports.clusters).ensure_cluster(
                        step.cluster, progress, tags=step.tags, deadline_s=self.deadline_s
                    )
                if made:
                    verb = "attached the cluster" if step.cluster.resource_id else "created the cluster"
                    self._record(verb, step.cluster.name, changes_service=False)
            case DeleteModelVersion():
                with self._removal("deleted the model version", f"{step.name}/{step.version}") as removal:
                    removal.was_there = known(self.ports.registry).remove_version(
                        step.name, step.version, owner=None if step.takes_over else step.owner
                    )
                if not removal.was_there:
                    self.notes.append(f"There was no version {step.version} of the model {step.name}.")
            case DeleteCompute():
                verb = "detached the compute" if step.keeps_resource else "deleted the compute"
                owner = None if step.takes_over else step.owner
                with self._removal(verb, step.name) as removal, self._phase("remove the compute"):
                    removal.was_there = known(self.ports.clusters).remove_cluster(
                        step.name, keeps_resource=step.keeps_resource, owner=owner
                    )
                if not removal.was_there:
                    self.notes.append(f"There was no compute {step.name}.")
            case _:
                assert_never(step)

    def _move_traffic(self, step: ShareTraffic | MirrorTraffic | ShiftTraffic) -> None:
        match step:
            case ShareTraffic():
                self._record(f"gave {step.percent} % of the traffic to", f"{step.service_name}/{step.deployment_name}")
                known(self.ports.endpoints).share(step.service_name, step.deployment_name, step.percent)
            case MirrorTraffic():
                self._record(
                    f"mirrored {step.percent} % of the traffic to", f"{step.service_name}/{step.deployment_name}"
                )
                known(self.ports.endpoints).mirror(step.service_name, step.deployment_name, step.percent)
            case ShiftTraffic():
                self._record("gave all traffic to", f"{step.service_name}/{step.deployment_name}")
                self.has_shifted = True
                self.ports.serving.shift(step.service_name, step.deployment_name)

    def _retire_older(self, step: RetireOlder) -> None:
        for name in step.known:
            self._record("stopped", f"{step.service_name}/{name}")
        with self._phase("drain and stop"):
            gone = known(self.ports.endpoints).retire_older(step.service_name, step.deployment_name, kept=step.kept)
        for name in gone:
            if name not in step.known:
                self._record("stopped", f"{step.service_name}/{name}")

    def _delete(self, step: DeleteService) -> None:
        self._record("deleted", step.service_name)
        with self._phase("delete"):
            if step.loses:
                known(self.ports.recreating).make_way(step.service_name)
                self.lost.append(step.loses)
            elif step.only_if_empty:
                known(self.ports.endpoints).delete_if_empty(step.service_name)
            else:
                self.ports.serving.delete(step.service_name)

    def _together(self, steps: Sequence[Step]) -> None:
        """All end before the first failure is raised, so that nothing goes on behind an undo."""
        with ThreadPoolExecutor(max_workers=len(steps)) as pool:
            futures = [pool.submit(self._carry_out_step, step) for step in steps]
        for future in futures:
            future.result()

    def _record(self, what: str, subject: str, *, changes_service: bool = True) -> Mutation:
        # Before the call: what may have been done must be on record even if the process dies in it.
        self.has_changed = self.has_changed or changes_service
        mutation = Mutation(at=self.ports.clock.utc_now(), what=what, subject=subject)
        self.mutations.append(mutation)
        return mutation

    @contextmanager
    def _removal(self, what: str, subject: str) -> Iterator[_Removal]:
        """On record while it may have been done, and off it again where it was not: absent, or refused."""
        record = self._record(what, subject, changes_service=False)
        removal = _Removal()
        try:
            yield removal
        except MlazError as error:
            if error.exit_code in _REFUSALS:
                self.mutations.remove(record)
            raise
        if not removal.was_there:
            self.mutations.remove(record)

    @contextmanager
    def _phase(self, phase: str) -> Iterator[Progress]:
        """Timed for the report, and told while it goes on where it takes long."""
        began_s = self.ports.clock.now_s()
        try:
            with self.ports.platform.progress(phase.capitalize()) as progress:
                yield progress
        finally:
            self.timings.append(Timing(phase=phase, duration_s=self.ports.clock.now_s() - began_s))

    def _build(self, lock: Lock) -> None:
        with self._phase("build the environment") as progress:
            self.ports.serving.build_environment(lock, progress, deadline_s=self.deadline_s)

    def _register(self, step: RegisterModel) -> None:
        folder = None if step.model.is_in_workspace else self._folder_of(step.model)
        with self._phase("register the model") as progress:
            registered = known(self.ports.registry).register(
                step.model, tags=step.tags, folder=folder, progress=progress
            )
        if registered.was_registered:
            self.notes.append(f"The model was registered before, as {registered.label}; that version is reused.")
        elif registered.version != step.model.version:
            self._record("registered", registered.label, changes_service=False)
        self.registered = registered

    def _with_registered(self, spec: DeploymentSpec) -> DeploymentSpec:
        return replace(spec, model=self.registered) if self.registered else spec

    def _folder_of(self, model: ModelRef) -> Path:
        with self._phase("wait for the model's files"):
            left_s = max(0.0, self.deadline_s - self.ports.clock.now_s())
            download = self._download
            return download.wait(left_s) if download else model_folder(self.ports.models_folder, model)

    def _start(self, spec: DeploymentSpec) -> None:
        folder = None if self.registered else self._folder_of(spec.model)
        staged = self._record("created", f"{spec.service_name}/{spec.deployment_name}", changes_service=False)
        with self._phase("stage the deployment"):
            try:
                self.ports.serving.stage(self._with_registered(spec), folder)
            except MlazError:
                # All or nothing: there is nothing of this run to undo, and what is there may be another run's.
                self.mutations.remove(staged)
                raise
            self.has_changed = True
            self.ports.serving.start(spec.service_name, spec.deployment_name)

    def _judge(self, verdict: Verdict) -> None:
        self.smoke_test = verdict.answer or self.smoke_test
        if verdict.doubt:
            self.is_unverified = True
            self.notes.append(verdict.doubt)
