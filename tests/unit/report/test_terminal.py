"""The texts for a person, whole: they are the product."""

from __future__ import annotations

from textwrap import dedent

import pytest

from mlaz_ci.models import Failure, Outcome
from mlaz_ci.report import render_terminal
from tests.unit.report import scenarios

IN_THE_AFTERNOON = scenarios.NOON.replace(hour=15)

TEXTS = [
    pytest.param(
        scenarios.HEALTHY,
        """\
            healthy: service "diabetes" on local

              scoring URI   http://localhost:31311/score
              model         diabetes/3
              model before  2
              deployment    g2
              environment   10c410c410c410c4
              smoke test    HTTP 200 to the model's input example in 0.03 s
              swagger       http://localhost:31311/swagger.json

              curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d '{"input_data": {"columns": ["age", "bmi"], "index": [0], "data": [[0.1, 0.2]]}}'

            changed
              2026-08-17 12:00:00 UTC  created diabetes/g2
              2026-08-17 12:00:09 UTC  gave all traffic to diabetes/g2

            timings
                 0.42 s  resolve the model
              1 min 5 s  build the environment
            """,
        id="healthy",
    ),
    pytest.param(
        scenarios.UNCHANGED,
        """\
            unchanged: service "diabetes" on local

            It serves exactly this already; nothing was done.

              scoring URI  http://localhost:31311/score
              model        diabetes/3
              deployment   g2

              curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json

            Told above: warning python-ends-soon
            """,
        id="unchanged",
    ),
    pytest.param(
        scenarios.DRY_RUN,
        """\
            planned: service "diabetes" on local

            Would do, in this order:
              1. fetch the model diabetes/3, 1.2 MB
              2. start deployment "g2" of service "diabetes", without traffic
            """,
        id="dry run",
    ),
    pytest.param(
        scenarios.PLANNED_REDEPLOY,
        """\
            planned: service "diabetes" on local

              scoring URI  http://localhost:31311/score
              model        diabetes/4
              model now    3

              curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json

            Would do, in this order:
              1. fetch the model diabetes/4, 1.2 MB
            """,
        id="dry run of a redeploy",
    ),
    pytest.param(
        scenarios.DOCTOR,
        """\
            passed: diabetes/3 on local

              model        diabetes/3
              environment  10c410c410c410c4

            notice no-input-example: The model has no input example.
            warning unpinned: The model does not pin `pandas`.
              It was logged with requirements of its own.
              Pin it.
            """,
        id="doctor",
    ),
    pytest.param(
        scenarios.STATUS,
        """\
            healthy: service "diabetes" on local

              scoring URI  http://localhost:31311/score
              model        diabetes/3
              deployment   g2
              state        healthy
              created      2026-08-17 12:00:00 UTC (3 hours ago)
              owner        repository 42

              curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json
            """,
        id="status",
    ),
    pytest.param(
        scenarios.STATUS_FAILED,
        """\
            failed: service "diabetes" on local

            It exists and does not run; `deploy` makes it anew.

            Reason: the machine was restarted.

              scoring URI  http://localhost:31311/score
              model        diabetes/3
              deployment   g2
              state        failed
              created      2026-08-17 12:00:00 UTC (3 hours ago)
              owner        repository 42
              rollback to  g1 (diabetes/2)
              no traffic   g3 (ImportError: no xgboost)
            """,
        id="status failed",
    ),
    pytest.param(
        scenarios.UNHEALTHY,
        """\
            unhealthy: service "diabetes" on local

            It exists and does not answer.

            Its process is gone since the machine was started again.
            """,
        id="unhealthy",
    ),
    pytest.param(
        scenarios.CLEANUP_ABSENT,
        """\
            absent: service "diabetes" on local

            There is no such service, so there was nothing to delete.
            """,
        id="cleanup absent",
    ),
    pytest.param(
        scenarios.INVOKED,
        """\
            invoked: service "diabetes" on local

            HTTP 200 in 1.5 s
            [
              152.1
            ]
            """,
        id="invoked",
    ),
    pytest.param(
        scenarios.SMOKE_TEST_FAILED,
        """\
            failed: deploy of service "diabetes" on local

            The smoke test with the model's input example was answered with HTTP 500.
            Usually: The model does not accept its own input example, or `smoke-test-file` does not fit its signature.
            What to do: Read the answer above; traffic stays where it was.
            Left behind: diabetes/g2 was kept without traffic (`on-failure: keep`).
            [docs/contract.md: smoke-test-failed]
            correlation id: c0ffee

            changed
              2026-08-17 12:00:00 UTC  created diabetes/g2

            timings
              2.0 s  smoke test
            """,
        id="smoke test failed",
    ),
    pytest.param(
        scenarios.CHECK_FAILED,
        """\
            failed: deploy of service "diabetes" on local

            The model has no python_function flavor; its flavors are: sklearn.
            Usually: It was logged by a tool that writes only its native flavor.
            What to do: Log it with `mlflow.<flavor>.log_model`.
            Nothing was changed.   [docs/contract.md: model-not-servable]

            Told above: notice no-input-example
            """,
        id="check failed",
    ),
    pytest.param(
        scenarios.START_FAILED,
        """\
            failed: deploy of service "diabetes" on local

            Deployment "g1" of service "diabetes" did not start: it ended with exit code 3
            Usually: The model needs the module xgboost, which is not in its requirements.
            What to do: Log the model again with it in `extra_pip_requirements`.
            Nothing was changed.   [docs/contract.md: service-start-failed]
            """,
        id="start failed",
    ),
]


@pytest.mark.parametrize(("ended", "text"), TEXTS)
def test_render_terminal__an_end__reads_exactly_so(ended: Outcome | Failure, text: str) -> None:
    rendered = render_terminal(ended, now=IN_THE_AFTERNOON)
    assert rendered.rstrip("\n") == dedent(text).rstrip("\n")


def test_render_terminal__body_is_shown_elsewhere__leaves_it_out_and_nothing_more() -> None:
    whole = render_terminal(scenarios.INVOKED)
    assert render_terminal(scenarios.INVOKED, with_body=False) == whole.removesuffix("\n[\n  152.1\n]")
    assert render_terminal(scenarios.HEALTHY, with_body=False) == render_terminal(scenarios.HEALTHY)
