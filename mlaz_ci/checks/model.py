"""Can this model be served at all: its pyfunc flavor, its signature, its input example."""

from __future__ import annotations

from collections.abc import Iterator

from mlaz_ci.models import Finding, ModelFacts, Severity

# Flavors whose pyfunc needs a Java runtime, which no serving image of ours has.
_ON_JAVA = frozenset({"spark", "h2o", "mleap"})


def check_model(facts: ModelFacts) -> Iterator[Finding]:
    if not facts.has_pyfunc:
        listed = ", ".join(sorted(facts.flavors)) or "none"
        yield Finding(
            code="no-pyfunc-flavor",
            severity=Severity.ERROR,
            what=f"The model has no python_function flavor; its flavors are: {listed}.",
            usually="It was logged by a tool that writes only its native flavor, or the MLmodel file was edited.",
            remedy="Log it with `mlflow.<flavor>.log_model`, or wrap it in a `mlflow.pyfunc.PythonModel`.",
        )
    if java := sorted(_ON_JAVA & set(facts.flavors)):
        yield Finding(
            code="needs-java",
            severity=Severity.WARNING,
            what=f"The flavor {java[0]} needs a Java runtime when the model is loaded.",
            usually="The serving image and most runners have none.",
            remedy="Give a `base-image` with Java, or log the model in a flavor without it (ONNX, say).",
        )
    yield from _check_contract(facts)


def _check_contract(facts: ModelFacts) -> Iterator[Finding]:
    has_signature = facts.signature is not None and bool(facts.signature.inputs)
    if not has_signature:
        yield Finding(
            code="no-signature",
            severity=Severity.NOTICE,
            what="The model has no signature: any input goes to it unchecked, and Swagger cannot describe it.",
            usually="It was logged without `signature=` and without `input_example=`.",
            remedy="Log it with `input_example=…`; mlflow infers the signature from it.",
        )
    if facts.input_example is None:
        yield Finding(
            code="no-input-example",
            severity=Severity.NOTICE if has_signature else Severity.WARNING,
            what="The model has no input example"
            + (
                "; the smoke test uses a sample made from the signature."
                if has_signature
                else " to smoke-test it with."
            ),
            usually="It was logged without `input_example=`.",
            remedy="Log it with `input_example=…`" + ("." if has_signature else ", or give `smoke-test-file`."),
        )
