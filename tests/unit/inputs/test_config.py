from __future__ import annotations

import pytest

from mlaz_ci.errors import InvalidConfigFile, MlazError, UnknownConfigKey
from mlaz_ci.inputs import parse_config
from mlaz_ci.models import Cluster, SmokeTest, Target


def fails_with(text: str) -> MlazError:
    with pytest.raises(MlazError) as caught:
        parse_config(text, "mlaz-ci.yml")
    return caught.value


def test_parse_config__settings__are_typed_and_placed() -> None:
    config = parse_config(
        "# ours\nservice-name: churn\nwait: no\ntarget: local\nsmoke-test: off\ntags:\n  team: risk\nlocal:\n  port: 8080\n",
        "mlaz-ci.yml",
    )
    assert {name: each.value for name, each in config.settings.items()} == {
        "service-name": "churn",
        "wait": False,
        "target": Target.LOCAL,
        "smoke-test": SmokeTest.OFF,
        "tags": {"team": "risk"},
    }
    assert config.settings["wait"].where == "mlaz-ci.yml:3:7"
    assert config.local["port"].value == 8080
    assert config.local["port"].where == "mlaz-ci.yml:9:9"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "~\n", "\ufeff", "{}", "local:\n", "local: {}\n", "wait:\ntags: ~\n"]
)
def test_parse_config__nothing_in_it__is_nothing(text: str) -> None:
    config = parse_config(text, "mlaz-ci.yml")
    assert dict(config.settings) == {}
    assert dict(config.local) == {}


def test_parse_config__scalars__are_read_as_written() -> None:
    config = parse_config("run-id: 0123e5\nmodel-name: 010\ntags: a=no\n", "c.yml")
    assert [each.value for each in config.settings.values()] == ["0123e5", "010", {"a": "no"}]


def test_parse_config__alias__is_its_anchor() -> None:
    config = parse_config("model-name: &name churn\nservice-name: *name\n", "c.yml")
    assert config.settings["service-name"].value == "churn"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wait: true\nservice_name: x\n", 'mlaz-ci.yml:2:1: "service_name" is not a key. Did you mean "service-name"?'),
        ("servicename: x\n", 'Did you mean "service-name"?'),
        ("locl:\n  port: 1\n", 'Did you mean "local"?'),
        ("local:\n  prot: 1\n", 'mlaz-ci.yml:2:3: "prot" is not a key of `local`. Did you mean "port"?'),
        ("zzzzzz: 1\n", "Known: "),
        ("port: 8080\n", '"port" is not a key. It stands in the section `local:`.'),
        ("num_replicas: 3\n", '"num_replicas" is not a key. It stands in the section `aks:`.'),
        ("mirror-percent: 3\n", "It stands in the section `managed:`."),
        ("managed: {instance_type: x}\n", "Did you mean `managed.deployment.instanceType`?"),
        ("kubernetes: {identity: {}}\n", "Did you mean `kubernetes.endpoint.identity`?"),
        ("<<: {wait: true}\n", '"<<" is not a key'),
        ("client-secret: hunter2\n", "`client-secret` is an input alone"),
        ("build-from-source: true\n", "`build-from-source` is an input alone"),
        ("command: cleanup\n", "`command` is an input alone"),
        ('"a\\e[31m": 1\n', '"a\\x1b[31m" is not a key'),
    ],
)
def test_parse_config__key_it_does_not_take__names_place_and_nearest(text: str, told: str) -> None:
    error = fails_with(text)
    assert isinstance(error, UnknownConfigKey)
    assert told in error.what
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wait: maybe\n", 'mlaz-ci.yml:1:7: `wait` "maybe" is neither true nor false.'),
        ("local:\n  port: 99999\n", "mlaz-ci.yml:2:9: `port`"),
        ("wait: [true]\n", "mlaz-ci.yml:1:7: `wait` takes a single value, not a list."),
        ("tags: [a]\n", "mlaz-ci.yml:1:7: `tags` takes a mapping of names to texts, not a list."),
        ("tags:\n  a: {b: c}\n", "mlaz-ci.yml:2:6: a single value is expected, not a mapping."),
        ("tags:\n  managed-by: me\n", "mlaz-ci.yml:2:3: `tags`"),
        ("local: 8080\n", "mlaz-ci.yml:1:8: a mapping (`key: value` lines) is expected, not a single value."),
        ("- a\n- b\n", "mlaz-ci.yml:1:1: a mapping (`key: value` lines) is expected, not a list."),
        ("just words\n", "mlaz-ci.yml:1:1: a mapping"),
        ("wait: true\nwait: false\n", "mlaz-ci.yml:2:1: a key stands twice, first in line 1."),
        ("? [a]\n: b\n", "mlaz-ci.yml:1:3: a key is a plain word, not a list."),
        ("wait: true\n\tx: 1\n", "mlaz-ci.yml:2:1: a tab stands where YAML takes spaces alone."),
        ("a: b: c\n", "mlaz-ci.yml:1:5: a line is indented too far, or a value with `: ` in it needs quotes."),
        ("wait: true\n  run-id: x\n", "mlaz-ci.yml:2:9: a line is indented too far"),
        ("# x\nwait: 'x\nrun-id: y\n", "mlaz-ci.yml:2:7: a quote is not closed."),
        ("run-id: x\nwait\ntarget: local\n", "mlaz-ci.yml:3:1: a line has no `: ` behind its key."),
        ("tags: {a: b\n", "mlaz-ci.yml:2:1: a brace or bracket is not closed."),
        ("local:\n    port: 1\n  workers: 2\n", "mlaz-ci.yml:3:3: a line is not indented as those above it."),
        ("target:managed\n", "1:1: a mapping (`key: value` lines) is expected, not a single value; a space is missing"),
        ("wait: true\n---\nwait: false\n", "mlaz-ci.yml:2:1: "),
        ("wait: *nowhere\n", "mlaz-ci.yml:1:7: "),
        ("wait: true\nx\x00y: 1\n", "mlaz-ci.yml:2:2: it has a character that YAML does not allow."),
        ("run-id: !!python/object/apply:os.system [ls]\n", "mlaz-ci.yml:1:9: "),
        ("run-id: !secret x\n", "mlaz-ci.yml:1:9: tags (`!…`) have no meaning here."),
        ("!!set {a}\n", "mlaz-ci.yml:1:1: tags (`!…`) have no meaning here."),
        ("!!binary aGVsbG8=\n", "mlaz-ci.yml:1:1: tags"),
        ('run-id: "\\U00110000"\n', "mlaz-ci.yml:1:1: it is not YAML."),
        ("wait: " + "[" * 60, "nested deeper than 12"),
        ("- " * 20_000, "nested deeper than 12"),
        ("managed: &a {b: *a}\n", "mlaz-ci.yml:1:17: an alias stands inside what it names."),
        ("a: &a [x]\n" + "".join(f"b{n}: [*a,*a,*a]\n" for n in range(20)), "over 32 aliases"),
        ("#" * 70_000, "70000 characters long; at most 65536"),
    ],
    ids=lambda each: each[:24],
)
def test_parse_config__not_what_it_takes__names_file_line_and_column(text: str, told: str) -> None:
    error = fails_with(text)
    assert isinstance(error, InvalidConfigFile)
    assert told in error.what
    assert error.what.startswith("mlaz-ci.yml:")
    assert len(error.what) < 400


@pytest.mark.parametrize(
    ("section", "text", "value"),
    [
        ("managed", "endpoint: {properties: {a: 1}}", {"endpoint": {"properties": {"a": 1}}}),
        ("kubernetes", "serving: no-code", {"serving": "no-code"}),
        ("aci", "tags: {a: true}", {"tags": {"a": True}}),
        ("aks", "num_replicas: 2", {"num_replicas": 2}),
    ],
)
def test_parse_config__section_of_a_target_on_azure__is_passed_on_as_it_stands(
    section: str, text: str, value: dict[str, object]
) -> None:
    assert parse_config(f"wait: true\n{section}:\n  {text}\n", "mlaz-ci.yml").sections == {section: value}


AKS_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shared"


@pytest.mark.parametrize(
    ("text", "name", "cluster"),
    [
        ("compute: aks-mlflow", "aks-mlflow", None),
        ("compute: {name: aks-mlflow}", "aks-mlflow", None),
        ("compute: {name: aks-mlflow, create: false}", "aks-mlflow", None),
        ("compute: {name: aks-mlflow, create: true}", "aks-mlflow", Cluster(name="aks-mlflow")),
        (f"compute: {{name: shared, attach: {AKS_ID}}}", "shared", Cluster(name="shared", resource_id=AKS_ID)),
        (
            "compute:\n  name: aks-mlflow\n  create: true\n  vm_size: Standard_D3_v2\n  agent_count: 3\n",
            "aks-mlflow",
            Cluster(name="aks-mlflow", settings={"vm_size": "Standard_D3_v2", "agent_count": 3}),
        ),
    ],
)
def test_parse_config__compute__is_a_name_or_says_how_it_is_made(text: str, name: str, cluster: Cluster | None) -> None:
    config = parse_config(text, "mlaz-ci.yml")
    assert config.settings["compute"].value == name
    assert (config.cluster.value if config.cluster else None) == cluster


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("compute: {create: true}", "mlaz-ci.yml:1:10: `compute` has no `name`"),
        ("compute: {name: x, create: maybe}", 'mlaz-ci.yml:1:28: `create` is neither true nor false: "maybe"'),
        (f"compute: {{name: x, create: true, attach: {AKS_ID}}}", "mlaz-ci.yml:1:34: `create` and `attach` exclude"),
        ("compute: {name: x, attach: aks}", "mlaz-ci.yml:1:28: `attach` is not the resource id of a cluster"),
        ("compute: {name: x, vm_size: big}", 'mlaz-ci.yml:1:20: "vm_size" says how a cluster is made'),
        ("compute: [x]", "mlaz-ci.yml:1:10"),
    ],
)
def test_parse_config__compute_that_says_nothing_whole__is_refused_at_its_place(text: str, told: str) -> None:
    assert told in fails_with(text).what


def test_parse_config__recursive_alias__ends() -> None:
    assert isinstance(fails_with("tags: &a\n  x: *a\n"), InvalidConfigFile)
