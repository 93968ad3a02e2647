"""Makes endpoints and deployments: what a request says, over what is there, owned and sized before any traffic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from mlaz_ci.adapters.azure_arm import bodies, seen
from mlaz_ci.adapters.azure_arm.assets import Assets
from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.insights import Insights, setting_name
from mlaz_ci.adapters.azure_arm.leases import lease
from mlaz_ci.adapters.azure_arm.registration import Registration
from mlaz_ci.errors import NameTaken, ServiceBusy, ServiceNotFound
from mlaz_ci.models import AzureShape, DeploymentSpec, EndpointUse, Request, ServiceState, Target
from mlaz_ci.serving.stamp import stamp
from mlaz_ci.targets.online_section import OnlineSection, read_section

# What of the stamp is a deployment's alone.
_OF_DEPLOYMENTS: Final = frozenset({"mlaz-spec", "mlaz-lock", "mlaz-deployment", "mlaz-model-version"})


class Making:
    def __init__(
        self, gateway: Gateway, assets: Assets, registration: Registration, insights: Insights, request: Request
    ) -> None:
        self._gateway = gateway
        self._assets = assets
        self._registration = registration
        self._insights = insights
        self._request = request
        self.made: set[str] = set()
        """Names of the deployments that this process made: its own to take back."""
        self._before: dict[str, dict[str, Any]] = {}

    @property
    def _is_kubernetes(self) -> bool:
        return self._request.target is Target.KUBERNETES

    @property
    def _section(self) -> OnlineSection:
        shape = self._request.shape
        raw = shape.raw if isinstance(shape, AzureShape) else {}
        return read_section(raw, self._request.target)

    @property
    def run(self) -> str:
        return self._request.origin.get("run", "") or "a run without a name"

    # --- the endpoint ----------------------------------------------------------------------------------------------

    def create_endpoint(self, spec: DeploymentSpec) -> None:
        """Returns when it is there and whole. One that is there already is left as it is."""
        name = spec.service_name
        marks = stamp(spec, self._gateway.clock.utc_now())
        body = bodies.new_endpoint(
            spec,
            self._section,
            location=self._gateway.door.facts.location,
            compute_id=self._compute_id(spec.azure_shape),
            marks={key: value for key, value in marks.items() if key not in _OF_DEPLOYMENTS},
        )
        try:
            self._gateway.begin_endpoint(name, body)
        except ServiceBusy:
            # Another run makes it right now, or our own first PUT does, whose answer was lost.
            pass
        except NameTaken as error:
            error.remedy_text = (
                f'Choose another `service-name`, such as "{name[:23]}-{self._gateway.door.facts.guid[:8]}".'
            )
            raise
        made = self._gateway.idle_endpoint(name)
        if made is None:
            raise ServiceBusy(f'The endpoint "{name}" was deleted as it was made, by another run or by hand.')
        if made.state is not ServiceState.HEALTHY:
            doing = f'create the endpoint "{name}"'
            uri = made.own_properties.get(seen.OPERATION_URI, "")
            raise self._gateway.failure_of(made, uri, doing=doing) or ServiceBusy(
                f'The endpoint "{name}" is {made.word}; Azure tells no reason.'
            )

    def _compute_id(self, shape: AzureShape) -> str | None:
        if not self._is_kubernetes or shape.compute is None:
            return None
        given = shape.compute
        return given if given.startswith("/") else f"{self._gateway.door.path}/computes/{given}"

    # --- a deployment ----------------------------------------------------------------------------------------------

    def prepare(self, spec: DeploymentSpec) -> None:
        """Uploads the code, while other things are made."""
        if not self._section.is_no_code:
            self._assets.ensure_code(spec)

    def create(self, spec: DeploymentSpec) -> None:
        """Begins a new deployment, without traffic. Raises ServiceBusy where another run makes one of the same name."""
        changes = self._changes(spec)
        old = self._gateway.deployment(spec.service_name, spec.replaces) if spec.replaces else None
        body = bodies.sized(
            {"location": self._gateway.door.facts.location, **changes}, spec, old, is_kubernetes=self._is_kubernetes
        )
        self.made.add(spec.deployment_name)
        for waited_s in self._gateway.attempts(
            f'create the deployment "{spec.deployment_name}" of "{spec.service_name}"'
        ):
            # A name of our own choosing is nobody else's, so the first time nothing can be there.
            is_chosen = self._request.deployment_name is None and not waited_s
            held = None if is_chosen else self._gateway.deployment(spec.service_name, spec.deployment_name)
            if held is not None:
                self._check_ours(held, spec)
                return
            try:
                self._gateway.put_deployment(spec.service_name, spec.deployment_name, body)
            except ServiceBusy:
                # The endpoint is being written by another run, or our own first PUT took effect and its answer was lost.
                if self._gateway.idle_endpoint(spec.service_name) is None:
                    self._again(spec)
                continue
            except ServiceNotFound:
                self._again(spec)
                continue
            return

    def _again(self, spec: DeploymentSpec) -> None:
        """The endpoint is gone: another run took back what it had begun. Whoever may make it makes it once more."""
        if self._request.endpoint is EndpointUse.EXISTING:
            raise ServiceNotFound(f'The endpoint "{spec.service_name}" was deleted meanwhile.')
        self.create_endpoint(spec)

    def _check_ours(self, held: seen.Deployment, spec: DeploymentSpec) -> None:
        if held.stamp.spec_hash != spec.spec_hash or held.stamp.owner != spec.owner:
            self.made.discard(spec.deployment_name)
            raise ServiceBusy(
                f'Another run makes a deployment of the same name, "{held.name}", in "{spec.service_name}", for another model.'
            )

    def _changes(self, spec: DeploymentSpec) -> dict[str, Any]:
        section = self._section
        parts = bodies.Parts(
            model=self._registration.model_id(spec.model),
            code=None if section.is_no_code else self._assets.code_id(spec),
            environment=None if section.is_no_code else self._assets.environment_id(spec),
        )
        now = self._gateway.clock.utc_now()
        marks = dict(stamp(spec, now))
        if self._request.wait:
            # Who does not wait is gone when the step ends, and nobody is to wait for that.
            marks[seen.LEASE] = lease(self.run, now + timedelta(seconds=self._request.deadline_s))
        if spec.replaces:
            marks[seen.SERVED_BEFORE] = spec.replaces
        if spec.azure_shape.instance_count:
            marks[seen.INSTANCES] = str(spec.azure_shape.instance_count)
        return bodies.deployment_changes(spec, section, parts, is_kubernetes=self._is_kubernetes, marks=marks)

    # --- before it takes traffic -----------------------------------------------------------------------------------

    def level(self, own: seen.Deployment) -> None:
        """Autoscale rules and diagnostic settings, of the config or of the one that serves, before the first request comes."""
        before = own.tags.get(seen.SERVED_BEFORE)
        rules = self._section.autoscale
        if self._is_kubernetes or own.tags.get(seen.AUTOSCALE) or not (before or rules):
            return
        service_name = own.id.split("/")[-3]
        setting = setting_name(service_name, own.name)
        old = self._gateway.known_deployment(service_name, before) if before else None
        if rules is not None:
            self._insights.write_rules(own, rules, setting)
        has_rules = rules is not None
        if old is not None:
            has_rules = self._insights.copy(old, own, setting, with_rules=rules is None) or has_rules
        if has_rules:
            tags = {**own.tags, seen.AUTOSCALE: setting}
            doing = f'mark "{own.name}" as one that scales by rules'
            self._gateway.patch_deployment(service_name, own.name, {"tags": tags}, doing=doing)

    # --- in place --------------------------------------------------------------------------------------------------

    def update(self, spec: DeploymentSpec) -> None:
        """Begins Azure's own rolling update of the one deployment. Its size stays unless one was asked for."""
        changes = self._changes(spec)
        changes["tags"].pop(seen.SERVED_BEFORE, None)
        for _ in self._gateway.attempts(f'update the deployment "{spec.deployment_name}" of "{spec.service_name}"'):
            held = self._gateway.deployment(spec.service_name, spec.deployment_name)
            if held is None:
                raise ServiceBusy(
                    f'Deployment "{spec.deployment_name}" was deleted meanwhile, by another run or by hand.'
                )
            if not held.state.is_settled:
                continue
            current = bodies.deployment_again(held, is_kubernetes=self._is_kubernetes)
            self._before.setdefault(spec.deployment_name, current)
            try:
                self._gateway.put_deployment(
                    spec.service_name, spec.deployment_name, self._over(current, changes, spec)
                )
            except ServiceBusy:
                self._gateway.idle_endpoint(spec.service_name)
                continue
            return

    @staticmethod
    def _over(current: dict[str, Any], changes: dict[str, Any], spec: DeploymentSpec) -> dict[str, Any]:
        """What Azure lets nobody alter, its own dictionary of properties, keeps what stands there."""
        body = bodies.merged(current, changes)
        kept = current["properties"].get("properties") or {}
        body["properties"]["properties"] = {**changes["properties"]["properties"], **kept}
        if spec.azure_shape.instance_count:
            body["sku"] = {**(current.get("sku") or {"name": "Default"}), "capacity": spec.azure_shape.instance_count}
        return body

    def restore(self, service_name: str, name: str) -> None:
        """Begins to put back what this process found. Raises ServiceBusy where it found nothing."""
        before = self._before.get(name)
        if before is None:
            raise ServiceBusy(f'What "{name}" served before this run is not on record.')
        for _ in self._gateway.attempts(f'put back the deployment "{name}" of "{service_name}"'):
            held = self._gateway.deployment(service_name, name)
            if held is not None and not held.state.is_settled:
                continue
            try:
                self._gateway.put_deployment(service_name, name, before)
            except ServiceBusy:
                continue
            return
