"""What goes wrong in model management, by name: each can be laid for the next deployment or request.

Codes, statuses and causes are Azure's, as people printed them in public threads; the wording is close to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.azure import faults
from tests.azure.state import Cloud
from tests.azure.transitions import after_polls

Error = dict[str, Any]
_GATEWAY_TIMEOUT = (
    "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body>\r\n"
    "<center><h1>504 Gateway Time-out</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def flat(code: str, status: int | None, message: str, *details: tuple[str, str]) -> Error:
    found: Error = {"code": code, "statusCode": status, "message": message}
    if details:
        found["details"] = [{"code": inner, "message": text} for inner, text in details]
    return {name: value for name, value in found.items() if value is not None}


def _crash_text(service: str, image: str) -> str:
    return (
        "Your container application crashed. This may be caused by errors in your scoring file's init() function.\n"
        f"\t1. Please check the logs for your container instance: {service}. From the AML SDK, you can run "
        "print(service.get_logs()) if you have service object to fetch the logs.\n"
        f"\t2. You can interactively debug your scoring file locally, or run the image {image} on your own machine.\n"
    )


def crash(kind: str, service: str) -> Error:
    """What a service's operation says when its script does not come up."""
    text = _crash_text(service, f"{service}registry.azurecr.io/azureml/{service}:latest")
    if kind == "ACI":
        return flat(
            "AciDeploymentFailed", 400, f"Aci Deployment failed with exception: {text}", ("CrashLoopBackOff", text)
        )
    return flat("KubernetesDeploymentFailed", 400, "Kubernetes Deployment failed", ("CrashLoopBackOff", text))


def _inaccessible(service: str) -> Error:
    return flat(
        "InaccessibleImage",
        400,
        f"ACI Service request failed. Reason: The image 'registry.azurecr.io/azureml/azureml_{service}' in container group '{service}-1' is not accessible. Please check the image and registry credential.. Refer to https://docs.microsoft.com/azure/container-registry/container-registry-authentication#admin-account and make sure Admin user is enabled for your container registry.",
    )


def _unschedulable(service: str) -> Error:
    return flat(
        "KubernetesError",
        400,
        "Kubernetes Deployment Error",
        (
            "Unschedulable",
            "Unschedulable: CPU/Memory resource insufficient, 1 replicas unschedulable. Please add more node(s) with SKU more than 1.1 CPU Cores and 2.6GB Memory to host your replicas OR reduce your replica count and service resource requirement.",
        ),
    )


def quota(region: str, limit: float, used: float, asked: float) -> Error:
    text = f"Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' exceeded in region '{region}'. Limit: '{limit:g}', Usage: '{used:g}' Requested: '{asked:g}'."
    return flat(
        "AciDeploymentFailed",
        409,
        f"Aci Deployment failed with exception: {text}",
        ("ContainerGroupQuotaReached", text),
    )


BUILD_FAILED = flat(
    "EnvironmentBuildFailed",
    400,
    "Failed building the Environment. You can try debugging locally first. Please refer to https://aka.ms/debugimage#debug-locally for more information.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A deployment's end: the operation's state and error, and what the service is left in."""

    error: Callable[[str], Error]
    state: str = "Failed"
    service_state: str = "Failed"
    sub_operation: str = "DeployService"


# By the ids of wire/errors/real_errors.json.
FAILURES: dict[str, Failure] = {
    "aci-crashloop": Failure(error=lambda service: crash("ACI", service)),
    "aci-crashloop-old": Failure(
        error=lambda service: flat(
            "AciDeploymentFailed", None, "Aci Deployment failed", ("CrashLoopBackOff", _crash_text(service, service))
        )
    ),
    "aci-inaccessible-image": Failure(error=_inaccessible, service_state="Transitioning"),
    "aci-quota": Failure(error=lambda service: quota("eastus", 10, 10, 1)),
    "env-build-failed": Failure(error=lambda service: BUILD_FAILED, sub_operation="BuildEnvironment"),
    "env-build-failed-short": Failure(
        error=lambda service: flat("EnvironmentBuildFailed", 400, "Failed Building the Environment."),
        service_state="Transitioning",
        sub_operation="BuildEnvironment",
    ),
    "image-build-old": Failure(
        error=lambda service: {"statusCode": 400, "message": "Docker image build failed."}, sub_operation="BuildImage"
    ),
    "aks-unschedulable-gpu": Failure(
        error=lambda service: flat(
            "KubernetesError",
            400,
            "Kubernetes Deployment Error",
            ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        ),
        service_state="Unschedulable",
    ),
    "aks-insufficient-cpu": Failure(error=_unschedulable, service_state="Unschedulable"),
    "aks-crashloop": Failure(error=lambda service: crash("AKS", service)),
    "deploy-timedout": Failure(
        error=lambda service: flat(
            "DeploymentTimedOut",
            504,
            "The deployment operation polling has TimedOut. The service creation is taking longer than our normal time. We are still trying to achieve the desired state for the web service. Please check the webservice state for the current webservice health. You can run print(service.state) from the python SDK to retrieve the current state of the webservice.",
        ),
        state="TimedOut",
        service_state="Unhealthy",
    ),
}
# Answers to POST services itself.
REFUSALS: dict[str, faults.Answer] = {
    "mms-forbidden": faults.json_error(
        403, flat("Forbidden", 403, "Forbidden", ("Forbidden", "AI Fabric returned Bad Request. Reason: "))
    ),
    "mms-500": faults.json_error(
        500,
        flat(
            "InternalServerError",
            500,
            "An internal server error occurred. Please try again. If the problem persists, contact support",
        ),
    ),
    "mms-504-html": faults.html_error(504, _GATEWAY_TIMEOUT),
}


def provoke(cloud: Cloud, name: str, *, service: str, polls: int = 1, log: str = "") -> None:
    """Lets the next deployment of `service` meet this row. `log`: what its container, or its image's build, printed."""
    if name in REFUSALS:
        cloud.faults.add(REFUSALS[name], host="*.api.azureml.ms", method="POST", path=r"/services$")
        return
    failure = FAILURES[name]
    cloud.scripts.add(
        "mms-create",
        after_polls(polls, "Running", failure.state, error=failure.error(service)),
        name=service,
        extra={"service_state": failure.service_state, "sub_operation": failure.sub_operation, "log": log},
    )
