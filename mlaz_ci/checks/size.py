"""How large the model is, before anything large is downloaded."""

from __future__ import annotations

from collections.abc import Iterator

from mlaz_ci.models import Finding, ModelRef, Request, Severity, Target


def check_size(model: ModelRef, request: Request) -> Iterator[Finding]:
    """Only where the bytes pass through this machine: Azure takes a model of its own workspace by reference."""
    if request.target is not Target.LOCAL or model.size_bytes is None:
        return
    size_mb = model.size_bytes / 1e6
    if size_mb > request.max_download_mb:
        yield Finding(
            code="model-too-large",
            severity=Severity.ERROR,
            what=f"The model is {size_mb:,.0f} MB; the limit for a download is {request.max_download_mb:,.0f} MB.",
            usually="The artifact path holds more than the model: checkpoints, training data.",
            remedy="Log the model without what serving does not need, or choose an Azure target, which takes it by reference.",
        )
