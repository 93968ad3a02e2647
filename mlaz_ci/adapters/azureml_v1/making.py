"""Makes and changes web services through azureml-core, and finds out what became of a request whose answer was lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.azureml_v1.environment import Environments, make_environment
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement
from mlaz_ci.adapters.azureml_v1.reading import Seen, classify, see
from mlaz_ci.adapters.azureml_v1.records import LIVE_TAG, PREVIOUS_TAG, Record, record_of
from mlaz_ci.adapters.azureml_v1.script import DRIVER, ENTRY_SCRIPT, SOURCE_FOLDER, Script, make_script
from mlaz_ci.adapters.azureml_v1.sdk import Sdk
from mlaz_ci.adapters.azureml_v1.settings import (
    create_settings,
    key_settings,
    own_variables,
    secret_files,
    update_settings,
)
from mlaz_ci.adapters.azureml_v1.upload import Artifacts
from mlaz_ci.errors import AzureThrottled, AzureUnreachable, FileNotFound, MlazError, NameTaken, ServiceBusy
from mlaz_ci.models import DeploymentSpec, ServiceState, Target
from mlaz_ci.ports import Clock, Platform
from mlaz_ci.refusals import read_told, refusal_of
from mlaz_ci.serving.stamp import is_ours, stamp

_TRIES: Final = 3
_PAUSE_S: Final = 5.0
# After these the request may have taken effect all the same.
_MAY_BE_DONE: Final = (AzureUnreachable, AzureThrottled, ServiceBusy, NameTaken)


class Making:
    def __init__(
        self,
        *,
        sdk: Sdk,
        mms: ModelManagement,
        artifacts: Artifacts,
        environments: Environments,
        clock: Clock,
        platform: Platform,
        target: Target,
    ) -> None:
        self._sdk = sdk
        self._mms = mms
        self._artifacts = artifacts
        self._environments = environments
        self._clock = clock
        self._platform = platform
        self._target = target

    def upload_script(self, spec: DeploymentSpec) -> Script:
        script = make_script(spec.files)
        self._artifacts.put(script.container, script.parcels)
        return script

    def create(self, spec: DeploymentSpec, script: Script) -> str | None:
        """The operation that makes the service. Raises what Azure's refusal means."""
        self._mask_secrets(spec)
        record = self._record(spec, script)
        tags = self._tags(spec, record)

        shape, doing = spec.azure_shape, f'create the service "{spec.service_name}"'
        properties = {**dict(shape.raw.get("properties") or {}), record.key: record.text}
        with self._sdk.making(doing):
            configuration = _service_class(self._target).deploy_configuration(
                **create_settings(self._target, shape), tags=tags, properties=properties
            )
            configuration.validate_configuration()
            image = _image_request(self._environment(spec, record), script, record.model_ids)
            # As `Model.deploy` does it, which sends all of this three times: to be validated twice before it counts.
            body = configuration._build_create_payload(spec.service_name, image)  # noqa: SLF001
            if shape.compute:
                body["computeName"] = shape.compute

        def begin() -> str | None:
            if objection := self._mms.name_objection(spec.service_name):
                raise refusal_of(read_told(objection), doing=doing)
            return self._mms.create_service(body, doing=doing)

        return self._until_known(spec, begin)

    def update(self, spec: DeploymentSpec, script: Script, seen: Seen) -> str | None:
        """The operation that changes the service. Tags of others stay; so does what the shape does not name."""
        self._mask_secrets(spec)
        record = self._record(spec, script)
        # What was taken over, or died on its way, is nothing to go back to later; nor is what was kept for a look at how it failed.
        before = seen.previous if classify(seen.payload) is ServiceState.FAILED else seen.live
        kept = {PREVIOUS_TAG: before.key} if before and before.key != record.key else {}
        tags = {**_without_ours(seen.tags), **self._tags(spec, record), **kept}
        self._set_keys(spec)

        doing = f'update the service "{spec.service_name}"'

        def make(workspace: Any) -> str | None:
            there = seen.payload.get("properties") or {}
            given = dict(spec.azure_shape.raw.get("properties") or {})
            service = _service_class(self._target)(workspace, spec.service_name)
            configuration = _uploaded_config(self._environment(spec, record), script)
            # Where Azure does not tell what runs, azureml-core takes the service for one of before environments, and builds an image of its own.
            service.environment = service.environment or configuration.environment
            service.update(
                **update_settings(self._target, spec.azure_shape),
                tags=tags,
                properties={
                    name: text for name, text in {**given, record.key: record.text}.items() if name not in there
                },
                models=[_Registered(model_id) for model_id in record.model_ids],
                inference_config=configuration,
            )
            return _operation_of(service)

        def begin() -> str | None:
            with self._sdk.making(doing) as workspace:
                return make(workspace)

        return self._until_known(spec, begin)

    def _until_known(self, spec: DeploymentSpec, begin: Callable[[], str | None]) -> str | None:
        for attempt in range(_TRIES):
            try:
                return begin()
            except MlazError as error:
                if isinstance(error, _MAY_BE_DONE):
                    known, operation = self._is_done(spec)
                    if known:
                        return operation
                if not isinstance(error, AzureUnreachable | AzureThrottled) or attempt + 1 == _TRIES:
                    raise
            self._clock.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _is_done(self, spec: DeploymentSpec) -> tuple[bool, str | None]:
        """(whether the service is this very deployment by now, the operation that makes it so)."""
        payload = self._mms.service(spec.service_name)
        if payload is None:
            return False, None
        told = see(payload).stamp
        is_this = (told.owner, told.deployment_name, told.spec_hash) == (
            spec.owner,
            spec.deployment_name,
            spec.spec_hash,
        )
        return is_this, str(payload.get("operationId") or "") or None

    def _record(self, spec: DeploymentSpec, script: Script) -> Record:
        environment = self._environments.ensure(spec.lock)
        return record_of(
            spec,
            environment=environment.name,
            environment_version=environment.version,
            driver=DRIVER,
            assets=script.assets,
            variables=own_variables(spec, entry_script=ENTRY_SCRIPT, source_folder=SOURCE_FOLDER),
            given=spec.azure_shape.environment_variables,
            now=self._clock.utc_now(),
        )

    def _tags(self, spec: DeploymentSpec, record: Record) -> dict[str, str]:
        given = dict(spec.azure_shape.raw.get("tags") or {})
        return {**given, **stamp(spec, self._clock.utc_now()), LIVE_TAG: record.key}

    def _environment(self, spec: DeploymentSpec, record: Record) -> Any:
        variables = {**spec.azure_shape.environment_variables, **record.variables}
        return make_environment(spec.lock, version=record.environment_version, variables=variables)

    def _set_keys(self, spec: DeploymentSpec) -> None:
        """A PATCH takes no keys: they are set one by one, where they are others."""
        wanted = list(key_settings(spec.azure_shape))
        if not wanted:
            return
        there = self._mms.keys(spec.service_name)
        for value in there.values():
            self._platform.mask(value)
        for name, kind, value in wanted:
            if there.get(name) != value:
                self._mms.set_key(spec.service_name, kind, value)

    def _mask_secrets(self, spec: DeploymentSpec) -> None:
        for _, _, value in key_settings(spec.azure_shape):
            self._platform.mask(value)
        for path in secret_files(spec.azure_shape):
            try:
                self._platform.mask(Path(path).read_text(encoding="utf-8", errors="replace"))
            except OSError as error:
                raise FileNotFound(f"`ssl_key_pem_file` {path} cannot be read: {error.strerror}.") from error


class _Registered:
    """A registered model, as far as azureml-core looks at it: the real one would be asked for by three requests."""

    def __init__(self, identifier: str) -> None:
        self.id = identifier


def _service_class(target: Target) -> Any:
    from azureml.core.webservice import AciWebservice, AksWebservice

    return AciWebservice if target is Target.ACI else AksWebservice


def _operation_of(service: Any) -> str | None:
    return str(service._operation_endpoint or "").rstrip("/").rpartition("/")[2] or None  # noqa: SLF001 - told nowhere else


def _image_request(environment: Any, script: Script, model_ids: Sequence[str]) -> Mapping[str, Any]:
    from azureml.core.environment import Environment

    return {
        "driverProgram": DRIVER,
        "assets": [dict(each) for each in script.assets],
        "modelIds": list(model_ids),
        "environment": Environment._serialize_to_dict(environment),  # noqa: SLF001 - as azureml-core does it
    }


def _uploaded_config(environment: Any, script: Script) -> Any:
    from azureml.core.model import InferenceConfig

    class Uploaded(InferenceConfig):  # type: ignore[misc]  # azureml-core is not installed where mypy runs
        """Names the script where it was uploaded to already, by content: azureml-core would send it anew under a random name."""

        def validate_configuration(self) -> None:
            """There is no file here to look for."""

        def _build_environment_image_request(
            self,
            workspace: Any,  # noqa: ARG002 - its signature
            model_ids: list[str],
            show_output: bool = False,  # noqa: ARG002
        ) -> Mapping[str, Any]:
            return _image_request(self.environment, script, model_ids)

    return Uploaded(entry_script="score.py", environment=environment)


def _without_ours(tags: Mapping[str, str]) -> dict[str, str]:
    """What others tagged, and the user before: our own words are written anew, so that none of an old deployment stays."""
    return {name: value for name, value in tags.items() if not is_ours(name)}
