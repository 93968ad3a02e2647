"""Ends of runs as values: what the reports are tried on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mlaz_ci.errors import ModelNotServable, ServiceStartFailed, SmokeTestFailed
from mlaz_ci.models import (
    Command,
    DeploymentFacts,
    Failure,
    Finding,
    Mutation,
    Outcome,
    ScoreRequest,
    ScoreResponse,
    ServiceFacts,
    ServiceState,
    Severity,
    Status,
    Target,
    Timing,
)

NOON = datetime(2026, 8, 17, 12, 0, 0, tzinfo=UTC)
URI = "http://localhost:31311/score"

SERVICE = ServiceFacts(
    name="diabetes",
    target=Target.LOCAL,
    state=ServiceState.HEALTHY,
    owner="repository 42",
    scoring_uri=URI,
    swagger_uri="http://localhost:31311/swagger.json",
    port=31311,
    live="g2",
    previous="g1",
    deployments=(
        DeploymentFacts(
            name="g2",
            state=ServiceState.HEALTHY,
            spec_hash="5e5e5e5e5e5e5e5e",
            lock_hash="10c410c410c410c4",
            model_label="diabetes/3",
            model_version="3",
            created_at=NOON,
        ),
    ),
    tags={},
    created_at=NOON,
)

HEALTHY = Outcome(
    command=Command.DEPLOY,
    status=Status.HEALTHY,
    target=Target.LOCAL,
    service_name="diabetes",
    deployment_name="g2",
    scoring_uri=URI,
    swagger_uri="http://localhost:31311/swagger.json",
    model_name="diabetes",
    model_version="3",
    model_label="diabetes/3",
    previous_model_version="2",
    changed=True,
    mutations=(
        Mutation(at=NOON, what="created", subject="diabetes/g2"),
        Mutation(at=NOON.replace(second=9), what="gave all traffic to", subject="diabetes/g2"),
    ),
    timings=(
        Timing(phase="resolve the model", duration_s=0.42),
        Timing(phase="build the environment", duration_s=65.0),
    ),
    smoke_test=ScoreResponse(status_code=200, body=b"[152.1]", duration_s=0.034),
    smoke_request=ScoreRequest(
        body=b'{"input_data": {"columns": ["age", "bmi"], "index": [0], "data": [[0.1, 0.2]]}}',
        origin="the model's input example",
    ),
    lock_hash="10c410c410c410c4",
)

UNCHANGED = Outcome(
    command=Command.DEPLOY,
    status=Status.UNCHANGED,
    target=Target.LOCAL,
    service_name="diabetes",
    deployment_name="g2",
    scoring_uri=URI,
    model_label="diabetes/3",
    model_version="3",
    model_name="diabetes",
    previous_model_version="3",
    findings=(
        Finding(
            code="python-ends-soon",
            severity=Severity.WARNING,
            what="Python 3.9 is supported by the inference server until its next release.",
            usually="The model was logged a while ago.",
            remedy="Log it under Python 3.11.",
        ),
    ),
)

DRY_RUN = Outcome(
    command=Command.DEPLOY,
    status=Status.PLANNED,
    target=Target.LOCAL,
    service_name="diabetes",
    plan=("fetch the model diabetes/3, 1.2 MB", 'start deployment "g2" of service "diabetes", without traffic'),
)

PLANNED_REDEPLOY = Outcome(
    command=Command.DEPLOY,
    status=Status.PLANNED,
    target=Target.LOCAL,
    service_name="diabetes",
    deployment_name="g2",
    scoring_uri=URI,
    model_label="diabetes/4",
    model_version="4",
    previous_model_version="3",
    plan=("fetch the model diabetes/4, 1.2 MB",),
)

DOCTOR = Outcome(
    command=Command.DOCTOR,
    status=Status.PASSED,
    target=Target.LOCAL,
    model_label="diabetes/3",
    lock_hash="10c410c410c410c4",
    findings=(
        Finding(code="no-input-example", severity=Severity.NOTICE, what="The model has no input example."),
        Finding(
            code="unpinned",
            severity=Severity.WARNING,
            what="The model does not pin `pandas`.",
            usually="It was logged with requirements of its own.",
            remedy="Pin it.",
        ),
    ),
)

STATUS = Outcome(
    command=Command.STATUS,
    status=Status.HEALTHY,
    target=Target.LOCAL,
    service_name="diabetes",
    deployment_name="g2",
    scoring_uri=URI,
    model_label="diabetes/3",
    model_version="3",
    service=SERVICE,
)

_AFTER_A_FAILED_DEPLOY = replace(
    SERVICE,
    state=ServiceState.FAILED,
    deployments=(
        replace(SERVICE.deployments[0], name="g1", model_label="diabetes/2", state=ServiceState.STOPPED),
        replace(SERVICE.deployments[0], state=ServiceState.FAILED, detail="the machine was restarted"),
        replace(SERVICE.deployments[0], name="g3", state=ServiceState.FAILED, detail="ImportError: no xgboost"),
    ),
)

STATUS_FAILED = replace(
    STATUS, status=Status.FAILED, service=_AFTER_A_FAILED_DEPLOY, notes=("Reason: the machine was restarted.",)
)

UNHEALTHY = Outcome(
    command=Command.STATUS,
    status=Status.UNHEALTHY,
    target=Target.LOCAL,
    service_name="diabetes",
    notes=("Its process is gone since the machine was started again.",),
)

CLEANUP_ABSENT = Outcome(command=Command.CLEANUP, status=Status.ABSENT, target=Target.LOCAL, service_name="diabetes")

INVOKED = Outcome(
    command=Command.INVOKE,
    status=Status.INVOKED,
    target=Target.LOCAL,
    service_name="diabetes",
    response=ScoreResponse(status_code=200, body=b"[\n  152.1\n]", duration_s=1.5),
)

SMOKE_TEST_FAILED = Failure(
    error=SmokeTestFailed(
        "The smoke test with the model's input example was answered with HTTP 500.",
        log="answer to the model's input example:\n{}\n\nTraceback (most recent call last):\n  KeyError: 'bmi'",
        correlation_id="c0ffee",
    ),
    command=Command.DEPLOY,
    target=Target.LOCAL,
    service_name="diabetes",
    model_label="diabetes/3",
    mutations=(Mutation(at=NOON, what="created", subject="diabetes/g2"),),
    left_behind=("diabetes/g2 was kept without traffic (`on-failure: keep`).",),
    timings=(Timing(phase="smoke test", duration_s=2.0),),
)

_NO_PYFUNC = Finding(
    code="no-pyfunc-flavor",
    severity=Severity.ERROR,
    what="The model has no python_function flavor; its flavors are: sklearn.",
    usually="It was logged by a tool that writes only its native flavor.",
    remedy="Log it with `mlflow.<flavor>.log_model`.",
)

CHECK_FAILED = Failure(
    error=ModelNotServable(_NO_PYFUNC.what, usually=_NO_PYFUNC.usually, remedy=_NO_PYFUNC.remedy),
    command=Command.DEPLOY,
    target=Target.LOCAL,
    service_name="diabetes",
    findings=(DOCTOR.findings[0], _NO_PYFUNC),
)

START_FAILED = Failure(
    error=ServiceStartFailed(
        'Deployment "g1" of service "diabetes" did not start: it ended with exit code 3',
        usually="The model needs the module xgboost, which is not in its requirements.",
        remedy="Log the model again with it in `extra_pip_requirements`.",
        log="\x1b[31mModuleNotFoundError\x1b[0m: No module named 'xgboost'\r\n</pre><b>&\r\n",
    ),
    command=Command.DEPLOY,
    target=Target.LOCAL,
    service_name="diabetes",
)
