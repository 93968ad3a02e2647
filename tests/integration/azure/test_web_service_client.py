"""How azureml-core is held: our tables are its signatures, nothing of it reaches stdout or ~/.azureml, and what it sends is ours verbatim."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
import tarfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from azureml.core.compute import AksCompute
from azureml.core.webservice import AciWebservice, AksWebservice

from mlaz_ci.adapters.azureml_v1.environment import name_of
from mlaz_ci.adapters.azureml_v1.settings import create_settings, update_settings
from mlaz_ci.errors import AzureUnreachable, FileNotFound
from mlaz_ci.models import AzureShape, Command, Lock, SmokeTest, Status, Target
from mlaz_ci.serving.lock import render_conda
from mlaz_ci.targets import v1_keys
from tests.azure import environments, faults, storage, webservices
from tests.integration.azure.web_service import SERVICE, RunStore, Scene

_NOT_OURS_TO_SET = {"self", "image", "models", "inference_config", "kwargs"}


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - _NOT_OURS_TO_SET


@pytest.mark.parametrize(
    ("keys", "service", "not_updated"),
    [
        (v1_keys.ACI, AciWebservice, {"primary_key", "secondary_key", "collect_model_data"}),
        (v1_keys.AKS, AksWebservice, {"primary_key", "secondary_key", "blobfuse_enabled"}),
    ],
    ids=["aci", "aks"],
)
def test_keys__are_the_clients_own_signature(keys: v1_keys.Keys, service: Any, not_updated: set[str]) -> None:
    made, changed = parameters(service.deploy_configuration), parameters(service.update)
    assert set(keys.forms) == made
    assert keys.fixed == made - changed - not_updated


@pytest.mark.parametrize("target", [Target.ACI, Target.AKS])
def test_update__takes_every_setting_that_is_left_of_a_creation(target: Target) -> None:
    keys, service = (v1_keys.ACI, AciWebservice) if target is Target.ACI else (v1_keys.AKS, AksWebservice)
    raw = {key: "x" for key in keys.forms if key not in {"tags", "properties"}}
    shape = AzureShape(cpu_cores=1.0, memory_gb=1.0, location="x", compute="x", instance_count=1, raw=raw)
    assert set(create_settings(target, shape)) <= parameters(service.deploy_configuration)
    assert set(update_settings(target, shape)) == set(create_settings(target, shape)) & parameters(service.update)


def test_cluster_keys__are_the_clients_own_signature() -> None:
    by_enable_ssl = parameters(AksCompute.provisioning_configuration().enable_ssl)
    assert set(v1_keys.NEW_CLUSTER.forms) == parameters(AksCompute.provisioning_configuration) | by_enable_ssl
    named = {"resource_group", "cluster_name", "resource_id"}
    assert set(v1_keys.ATTACHED_CLUSTER.forms) == (parameters(AksCompute.attach_configuration) | by_enable_ssl) - named


def test_environment__reaches_azure_verbatim_and_is_registered_once(scene: Scene) -> None:
    scene.deploy()
    assert scene.last
    lock = lock_of(scene)
    [definition] = scene.cloud.state(environments.Environments).by_name.values()
    [registered] = definition.versions.values()
    wanted = yaml.safe_load(render_conda(lock))
    assert definition.name == name_of(lock)
    assert registered["python"]["condaDependencies"] == wanted
    assert registered["python"]["userManagedDependencies"] is False
    assert registered["docker"]["baseImage"] == lock.base_image
    assert registered["inferencingStackVersion"] == "latest"
    assert registered["environmentVariables"] == {}
    sent = scene.payload["environmentImageRequest"]["environment"]
    assert (sent["name"], sent["version"]) == (name_of(lock), "1")
    assert sent["python"]["condaDependencies"] == wanted
    scene.serve("run-2")
    scene.deploy()
    assert len(scene.cloud.trace.find(method="PUT", path="/environments/mlaz-ci-")) == 1


def lock_of(scene: Scene) -> Lock:
    from mlaz_ci.checks import examine

    lock = examine(scene.store.model, scene.request, scene.resolver).lock
    assert lock
    return lock


def test_script__travels_once_by_content_and_holds_what_the_service_needs(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.deploy()
    uploads = scene.cloud.trace.find(method="PUT", path=r"source\.tar\.gz$")
    assert len(uploads) == 1
    with tarfile.open(fileobj=io.BytesIO(uploads[0].request_body)) as archive:
        assert sorted(archive.getnames()) == ["mlaz/score.py", "mlaz/swagger.json", "mlaz/swagger3.json"]


def test_deploy__prints_nothing_and_leaves_home_alone(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.deploy()
    scene.run(Command.CLEANUP)
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err == ""
    assert not (Path(os.environ["HOME"]) / ".azureml").exists()


def test_import__of_what_a_deploy_needs__brings_no_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mlaz_ci.adapters.azureml_v1 import WebServices\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in {'azure', 'azureml', 'mlflow', 'requests'}]\n"
        "from mlaz_ci.adapters.azureml_v1.sdk import _import_all\n"
        "_import_all()\n"
        "assert 'azureml.core.model' in sys.modules\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'mlflow', 'pandas', 'numpy'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=Path(__file__).parents[3],
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [Command.STATUS, Command.CLEANUP, Command.INVOKE])
def test_reading_and_taking_away__import_no_client_of_v1(scene: Scene, command: Command, tmp_path: Path) -> None:
    scene.deploy()
    file = tmp_path / "rows.json"
    file.write_text("{}")
    job = scene.job(command=command, request_file=file)
    job.run()
    assert job.ports.serving._sdk._thread is None  # type: ignore[attr-defined]


def test_aci__everything_of_the_section__reaches_azure(scene: Scene, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")
    key.write_text("-----BEGIN PRIVATE KEY-----\nvery-private-bytes\n-----END PRIVATE KEY-----\n")
    raw = {
        "ssl_cert_pem_file": str(certificate),
        "ssl_key_pem_file": str(key),
        "ssl_cname": "churn.contoso.com",
        "dns_name_label": "churn-label",
        "vnet_name": "net",
        "subnet_name": "sub",
        "cmk_vault_base_url": "https://v.vault.azure.net",
        "cmk_key_name": "k",
        "cmk_key_version": "1",
        "properties": {"made-for": "growth"},
        "tags": {"tier": "gold"},
    }
    shape = AzureShape(
        cpu_cores=1.0, memory_gb=2.0, location="westeurope", description="Churn.", enable_app_insights=True, raw=raw
    )
    scene.deploy(shape=shape, smoke_test=SmokeTest.OFF)
    [sent] = scene.bodies("POST", r"/services$")
    assert (sent["sslEnabled"], sent["cname"], sent["dnsNameLabel"]) == (True, "churn.contoso.com", "churn-label")
    assert sent["sslCertificate"] == certificate.read_text()
    assert sent["sslKey"] == key.read_text()
    assert sent["vnetConfiguration"] == {"vnetName": "net", "subnetName": "sub"}
    assert sent["encryptionProperties"] == {
        "vaultBaseUrl": "https://v.vault.azure.net",
        "keyName": "k",
        "keyVersion": "1",
    }
    assert sent["containerResourceRequirements"] == {"cpu": 1.0, "memoryInGB": 2.0}
    assert (sent["location"], sent["description"], sent["appInsightsEnabled"]) == ("westeurope", "Churn.", True)
    assert sent["kvTags"]["tier"] == "gold"
    assert sent["properties"]["made-for"] == "growth"
    scene.platform.info("very-private-bytes")
    assert "very-private-bytes" not in scene.platform.text


def test_aci__key_file_that_is_not_there__is_found_before_anything_is_made(scene: Scene) -> None:
    raw = {"ssl_cert_pem_file": "no.pem", "ssl_key_pem_file": "no.key", "ssl_cname": "c"}
    with pytest.raises(FileNotFound, match=r"no\.pem"):
        scene.deploy(shape=AzureShape(raw=raw))
    assert {each.method for each in scene.sent() if "login" not in each.host} == {"GET"}


def upload_scene(scene: Scene, folder: Path, size: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(scene.store.model.facts.mlmodel_text)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "model.pkl").write_bytes(os.urandom(size))
    model = replace(
        scene.store.model, is_in_workspace=False, run_id=None, artifact_uri=f"file://{folder}", digest=folder.name
    )
    scene.store = RunStore(model, folder)


def test_upload__of_a_model_from_elsewhere__is_made_once_with_progress(scene: Scene, tmp_path: Path) -> None:
    size = 40 * 1024 * 1024
    upload_scene(scene, tmp_path / "elsewhere", size)
    outcome = scene.deploy()
    assert (outcome.status, outcome.model_version) == (Status.HEALTHY, "1")
    [shown] = [each.updates for each in scene.platform.progresses if each.updates and each.updates[0][2] == "bytes"]
    assert shown[-1][0] == shown[-1][1] == size + (tmp_path / "elsewhere" / "MLmodel").stat().st_size
    name = next(each for each in blobs(scene) if each.endswith("/model/data/model.pkl"))
    assert blobs(scene)[name] == size
    scene.run(Command.CLEANUP)
    scene.cloud.trace.clear()
    # Fetched again from another place, it is the same model by its bytes.
    scene.store.model = replace(scene.store.model, artifact_uri="file:///other")
    assert scene.deploy().model_version == "1"
    assert scene.cloud.trace.find(method="PUT", path=r"model\.pkl$") == []


def blobs(scene: Scene) -> dict[str, int]:
    account = scene.cloud.state(storage.Accounts)
    from tests.azure.arm import workspaces

    container = account.container(
        scene.cloud.state(workspaces.Workspaces).default.storage_account, storage.ARTIFACT_CONTAINER
    )
    assert container
    return {name: each.size for name, each in container.blobs.items()}


def test_upload__that_died_half_way__is_taken_up(scene: Scene, tmp_path: Path) -> None:
    from mlaz_ci.errors import StorageAccessDenied
    from tests.azure import failures

    upload_scene(scene, tmp_path / "elsewhere", 1000)
    rule = failures.lay(scene.cloud, "blob-403")
    with pytest.raises(StorageAccessDenied):
        scene.deploy()
    assert rule
    scene.cloud.faults.clear()
    assert scene.deploy().model_version == "1"
    assert 1000 in blobs(scene).values()


@pytest.mark.parametrize("fault", [faults.Reset(), faults.Unreachable()], ids=["reset", "unreachable"])
def test_upload__that_gets_no_answer__tells_no_signature(scene: Scene, tmp_path: Path, fault: faults.Fault) -> None:
    upload_scene(scene, tmp_path / "elsewhere", 100)
    scene.cloud.faults.add(fault, host="*.blob.core.windows.net", times=None)
    with pytest.raises(AzureUnreachable) as raised:
        scene.deploy()
    assert "sig=" not in "".join(traceback.format_exception(raised.value))
    assert "sig=" not in scene.platform.text


def test_names__of_service_and_emulator__agree(scene: Scene) -> None:
    scene.deploy()
    assert [each.name for each in scene.cloud.state(webservices.Services).by_key.values()] == [SERVICE]
    assert list(scene.job().ports.serving.services()) == [SERVICE]


def test_deploy__from_a_checkout_with_another_commit__changes_in_place_and_says_nothing_of_git(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("remote", "add", "origin", "https://user:a-token@example.com/churn.git")
    git("commit", "--allow-empty", "-m", "first")
    scene.deploy()
    git("commit", "--allow-empty", "-m", "second")
    scene.serve("run-2")
    assert scene.deploy().status is Status.HEALTHY
    assert [name for name in scene.payload["properties"] if "git" in name] == []
    assert "a-token" not in json.dumps(scene.payload)
