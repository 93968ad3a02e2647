"""The job summaries, whole."""

from __future__ import annotations

from textwrap import dedent

import pytest

from mlaz_ci.models import Failure, Outcome
from mlaz_ci.report import render_summary
from tests.unit.report import scenarios

IN_THE_AFTERNOON = scenarios.NOON.replace(hour=15)

TEXTS = [
    pytest.param(
        scenarios.HEALTHY,
        """\
            ### mlaz-ci deploy

            **healthy&#58; service "diabetes" on local**

            |  |  |
            |---|---|
            | Scoring URI | <code>http&#58;//localhost&#58;31311/score</code> |
            | Model | <code>diabetes/3</code> |
            | Model before | <code>2</code> |
            | Deployment | <code>g2</code> |
            | Environment | <code>10c410c410c410c4</code> |
            | Smoke test | HTTP 200 to the model's input example in 0.03 s |
            | Swagger | <code>http&#58;//localhost&#58;31311/swagger.json</code> |

            Call it:

            <pre>
            curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d '{"input_data": {"columns": ["age", "bmi"], "index": [0], "data": [[0.1, 0.2]]}}'
            </pre>

            <details>
            <summary>What was changed</summary>

            | Time | What | Subject |
            |---|---|---|
            | 2026-08-17 12&#58;00&#58;00 UTC | created | <code>diabetes/g2</code> |
            | 2026-08-17 12&#58;00&#58;09 UTC | gave all traffic to | <code>diabetes/g2</code> |

            </details>

            <details>
            <summary>Timings</summary>

            | Phase | Took |
            |---|---|
            | resolve the model | 0.42 s |
            | build the environment | 1 min 5 s |

            </details>
            """,
        id="healthy",
    ),
    pytest.param(
        scenarios.UNCHANGED,
        """\
            ### mlaz-ci deploy

            **unchanged&#58; service "diabetes" on local**

            It serves exactly this already; nothing was done.

            |  |  |
            |---|---|
            | Scoring URI | <code>http&#58;//localhost&#58;31311/score</code> |
            | Model | <code>diabetes/3</code> |
            | Deployment | <code>g2</code> |

            Call it:

            <pre>
            curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json
            </pre>

            Findings:

            |  | Check | What | Cause and remedy |
            |---|---|---|---|
            | warning | <code>python-ends-soon</code> | Python 3.9 is supported by the inference server until its next release. | The model was logged a while ago. Log it under Python 3.11. |
            """,
        id="unchanged",
    ),
    pytest.param(
        scenarios.DRY_RUN,
        """\
            ### mlaz-ci deploy

            **planned&#58; service "diabetes" on local**

            Would do, in this order:

            1. fetch the model diabetes/3, 1.2 MB
            2. start deployment "g2" of service "diabetes", without traffic
            """,
        id="dry run",
    ),
    pytest.param(
        scenarios.PLANNED_REDEPLOY,
        """\
            ### mlaz-ci deploy

            **planned&#58; service "diabetes" on local**

            |  |  |
            |---|---|
            | Scoring URI | <code>http&#58;//localhost&#58;31311/score</code> |
            | Model | <code>diabetes/4</code> |
            | Model now | <code>3</code> |

            Call it:

            <pre>
            curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json
            </pre>

            Would do, in this order:

            1. fetch the model diabetes/4, 1.2 MB
            """,
        id="dry run of a redeploy",
    ),
    pytest.param(
        scenarios.DOCTOR,
        """\
            ### mlaz-ci doctor

            **passed&#58; diabetes/3 on local**

            |  |  |
            |---|---|
            | Model | <code>diabetes/3</code> |
            | Environment | <code>10c410c410c410c4</code> |

            Findings:

            |  | Check | What | Cause and remedy |
            |---|---|---|---|
            | notice | <code>no-input-example</code> | The model has no input example. |  |
            | warning | <code>unpinned</code> | The model does not pin <code>pandas</code>. | It was logged with requirements of its own. Pin it. |
            """,
        id="doctor",
    ),
    pytest.param(
        scenarios.STATUS,
        """\
            ### mlaz-ci status

            **healthy&#58; service "diabetes" on local**

            |  |  |
            |---|---|
            | Scoring URI | <code>http&#58;//localhost&#58;31311/score</code> |
            | Model | <code>diabetes/3</code> |
            | Deployment | <code>g2</code> |
            | State | healthy |
            | Created | 2026-08-17 12&#58;00&#58;00 UTC (3 hours ago) |
            | Owner | <code>repository 42</code> |

            Call it:

            <pre>
            curl -sS http://localhost:31311/score -H 'Content-Type: application/json' -d @request.json
            </pre>
            """,
        id="status",
    ),
    pytest.param(
        scenarios.STATUS_FAILED,
        """\
            ### mlaz-ci status

            **failed&#58; service "diabetes" on local**

            It exists and does not run; <code>deploy</code> makes it anew.

            - Reason&#58; the machine was restarted.

            |  |  |
            |---|---|
            | Scoring URI | <code>http&#58;//localhost&#58;31311/score</code> |
            | Model | <code>diabetes/3</code> |
            | Deployment | <code>g2</code> |
            | State | failed |
            | Created | 2026-08-17 12&#58;00&#58;00 UTC (3 hours ago) |
            | Owner | <code>repository 42</code> |
            | Rollback to | <code>g1 (diabetes/2)</code> |
            | No traffic | <code>g3 (ImportError&#58; no xgboost)</code> |
            """,
        id="status failed",
    ),
    pytest.param(
        scenarios.UNHEALTHY,
        """\
            ### mlaz-ci status

            **unhealthy&#58; service "diabetes" on local**

            It exists and does not answer.

            - Its process is gone since the machine was started again.
            """,
        id="unhealthy",
    ),
    pytest.param(
        scenarios.CLEANUP_ABSENT,
        """\
            ### mlaz-ci cleanup

            **absent&#58; service "diabetes" on local**

            There is no such service, so there was nothing to delete.
            """,
        id="cleanup absent",
    ),
    pytest.param(
        scenarios.INVOKED,
        """\
            ### mlaz-ci invoke

            **invoked&#58; service "diabetes" on local**

            HTTP 200 in 1.5 s:

            <pre>
            [
              152.1
            ]
            </pre>
            """,
        id="invoked",
    ),
    pytest.param(
        scenarios.SMOKE_TEST_FAILED,
        """\
            ### mlaz-ci deploy

            **failed&#58; deploy of service "diabetes" on local**

            The smoke test with the model's input example was answered with HTTP 500.

            <details>
            <summary>Log</summary>

            <pre>
            answer to the model's input example:
            {}

            Traceback (most recent call last):
              KeyError: 'bmi'
            </pre>

            </details>

            **Usually:** The model does not accept its own input example, or <code>smoke-test-file</code> does not fit its signature.

            **What to do:** Read the answer above; traffic stays where it was.

            **Left behind:**

            - diabetes/g2 was kept without traffic (<code>on-failure&#58; keep</code>).

            docs/contract.md: <code>smoke-test-failed</code> · correlation id <code>c0ffee</code>

            <details>
            <summary>What was changed</summary>

            | Time | What | Subject |
            |---|---|---|
            | 2026-08-17 12&#58;00&#58;00 UTC | created | <code>diabetes/g2</code> |

            </details>

            <details>
            <summary>Timings</summary>

            | Phase | Took |
            |---|---|
            | smoke test | 2.0 s |

            </details>
            """,
        id="smoke test failed",
    ),
    pytest.param(
        scenarios.CHECK_FAILED,
        """\
            ### mlaz-ci deploy

            **failed&#58; deploy of service "diabetes" on local**

            The model has no python&#95;function flavor; its flavors are&#58; sklearn.

            **Usually:** It was logged by a tool that writes only its native flavor.

            **What to do:** Log it with <code>mlflow.&#60;flavor&#62;.log&#95;model</code>.

            Nothing was changed.

            docs/contract.md: <code>model-not-servable</code>

            Findings:

            |  | Check | What | Cause and remedy |
            |---|---|---|---|
            | notice | <code>no-input-example</code> | The model has no input example. |  |
            """,
        id="check failed",
    ),
    pytest.param(
        scenarios.START_FAILED,
        """\
            ### mlaz-ci deploy

            **failed&#58; deploy of service "diabetes" on local**

            Deployment "g1" of service "diabetes" did not start&#58; it ended with exit code 3

            <details>
            <summary>Log</summary>

            <pre>
            ModuleNotFoundError: No module named 'xgboost'
            &lt;/pre&gt;&lt;b&gt;&amp;
            </pre>

            </details>

            **Usually:** The model needs the module xgboost, which is not in its requirements.

            **What to do:** Log the model again with it in <code>extra&#95;pip&#95;requirements</code>.

            Nothing was changed.

            docs/contract.md: <code>service-start-failed</code>
            """,
        id="start failed",
    ),
]


@pytest.mark.parametrize(("ended", "text"), TEXTS)
def test_render_summary__an_end__reads_exactly_so(ended: Outcome | Failure, text: str) -> None:
    rendered = render_summary(ended, now=IN_THE_AFTERNOON)
    assert rendered.rstrip("\n") == dedent(text).rstrip("\n")
