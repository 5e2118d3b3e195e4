"""The manifests render, are valid, and give every service settings with which it starts."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from pydantic_settings import BaseSettings

from creditline.credentials.tls_files import TlsFiles
from creditline.embedder.settings import EmbedderSettings
from creditline.gateway.settings import GatewaySettings
from creditline.settings import read_settings
from creditline.teacher.settings import TeacherSettings
from tests.deploy.manifests import (
    K8S,
    REPOSITORY,
    Manifest,
    container,
    environment,
    literal_secrets,
    of_kind,
    pod_specs,
    render,
    render_with_components,
)

KUSTOMIZATIONS = ("base", "overlays/example", "overlays/own-release")
OURS = ("gateway", "embedder", "teacher")
WORKLOADS = {*OURS, "qdrant", "redis", "postgres", "load-index"}
# How long a cluster's DNS may give an old answer: the usual cache of CoreDNS.
CLUSTER_DNS_SECONDS = 30.0
SECRETS = {"creditline": {"postgres-password": "5f0c"}}
# Where the Secret `creditline` is mounted.
_SECRETS = "/etc/creditline/secrets"


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    return render("base")


@pytest.fixture
def settings_of(
    base: list[Manifest], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> BaseSettings:
    """The settings of the service that the test is parametrised with, from its rendered environment."""
    service = request.param
    module = importlib.import_module(f"creditline.{service}.settings")
    for name, value in environment(base, service, SECRETS).items():
        monkeypatch.setenv(name, value)
    settings: BaseSettings = getattr(module, f"{service.capitalize()}Settings")()
    return settings


@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_every_rendered_manifest_is_valid(kustomization: str) -> None:
    manifests = render(kustomization)
    assert {name for name, _ in pod_specs(manifests)} == WORKLOADS
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("settings_of", ["gateway"], indirect=True)
def test_the_gateway_starts_with_keys_and_finds_the_other_services(settings_of: BaseSettings) -> None:
    values = settings_of.model_dump()
    assert values["gateway_host"] == "0.0.0.0"
    assert values["api_keys"] == ""
    assert values["api_keys_file"] == Path(f"{_SECRETS}/api-keys")
    password = f"?password_file={_SECRETS}/postgres-password"
    assert values["ledger_url"] == f"postgresql+psycopg://creditline@postgres:5432/creditline{password}"
    assert values["broker_url"] == "redis://redis:6379/0"
    assert values["qdrant_host"] == "qdrant"
    assert values["embedder_target"] == "dns:///embedder:7200"


@pytest.mark.parametrize("settings_of", ["embedder"], indirect=True)
def test_the_embedder_listens_where_its_service_points(
    settings_of: BaseSettings, base: list[Manifest]
) -> None:
    values = settings_of.model_dump()
    ports = {port["name"]: port["containerPort"] for port in container(base, "embedder")["ports"]}
    assert values["embedder_host"] == "0.0.0.0"
    assert values["embedder_port"] == ports["grpc"]
    assert values["embedder_metrics_port"] == ports["metrics"]


@pytest.mark.parametrize("settings_of", ["embedder"], indirect=True)
def test_clients_find_every_embedder_and_a_new_one_before_an_old_one_ends(
    settings_of: BaseSettings, base: list[Manifest]
) -> None:
    service = of_kind(base, "Service")["embedder"]["spec"]
    assert service["clusterIP"] == "None"
    (port,) = [each for each in service["ports"] if each["name"] == "grpc"]
    target = environment(base, "gateway", SECRETS)["CREDITLINE_EMBEDDER_TARGET"]
    assert target == f"dns:///embedder:{port['port']}"
    age = settings_of.model_dump()["embedder_connection_age_seconds"]
    deployment = of_kind(base, "Deployment")["embedder"]["spec"]
    assert deployment["minReadySeconds"] > 1.1 * age + CLUSTER_DNS_SECONDS


@pytest.mark.parametrize("settings_of", ["teacher"], indirect=True)
def test_the_teacher_shares_broker_and_ledger_with_the_gateway(
    settings_of: BaseSettings, base: list[Manifest]
) -> None:
    values = settings_of.model_dump()
    gateway = environment(base, "gateway", SECRETS)
    assert values["broker_url"] == gateway["CREDITLINE_BROKER_URL"]
    assert values["ledger_url"] == gateway["CREDITLINE_LEDGER_URL"]
    assert values["teacher_host"] == "0.0.0.0"
    assert values["teacher_metrics_port"] == container(base, "teacher")["ports"][0]["containerPort"]


@pytest.mark.parametrize("service", OURS)
def test_every_variable_of_ours_is_a_setting_of_some_service(base: list[Manifest], service: str) -> None:
    fields: set[str] = set()
    for name in OURS:
        module = importlib.import_module(f"creditline.{name}.settings")
        settings = getattr(module, f"{name.capitalize()}Settings")
        prefix = settings.model_config.get("env_prefix", "")
        fields |= {f"{prefix}{field}".upper() for field in settings.model_fields}
    given = {name for name in environment(base, service, SECRETS) if name.startswith("CREDITLINE_")}
    assert given
    assert given <= fields


def _files_of(manifests: list[Manifest], workload: str) -> set[str]:
    """Names of the files that a workload's container has from Secrets; those of a whole Secret end with /."""
    volumes = {volume["name"]: volume for volume in dict(pod_specs(manifests))[workload]["volumes"]}
    files: set[str] = set()
    for mount in container(manifests, workload)["volumeMounts"]:
        secret = volumes[mount["name"]].get("secret") if mount["name"] in volumes else None
        if secret is not None:
            assert mount["readOnly"] is True
            files |= {f"{mount['mountPath']}/{item['path']}" for item in secret.get("items", [])}
            files |= set() if "items" in secret else {f"{mount['mountPath']}/"}
    return files


@pytest.mark.parametrize("workload", ["gateway", "teacher", "load-index"])
def test_secrets_are_files_and_not_in_the_environment(base: list[Manifest], workload: str) -> None:
    variables = container(base, workload).get("env", [])
    assert not [each for each in variables if "valueFrom" in each]
    wanted = {f"{_SECRETS}/postgres-password"} | (
        {f"{_SECRETS}/api-keys"} if workload == "gateway" else set()
    )
    assert _files_of(base, workload) == wanted


def test_with_tls_every_service_has_its_files_and_probes_that_speak_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encrypted = render_with_components(tmp_path, "tls")
    for manifest in encrypted:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    for name, value in environment(encrypted, "gateway", SECRETS).items():
        monkeypatch.setenv(name, value)
    server, caller = (
        TlsFiles(
            *(Path(f"/etc/creditline/{of}-tls/{file}") for file in ("tls.crt", "tls.key")),
            Path("/etc/creditline/embedder-tls/ca.crt") if of == "embedder" else None,
            f"CREDITLINE_{of.upper()}_TLS",
        )
        for of in ("gateway", "embedder")
    )
    assert read_settings(GatewaySettings).tls_of_gateway == server
    assert read_settings(GatewaySettings).tls_to_embedder == caller
    assert read_settings(TeacherSettings).tls_to_embedder == caller
    assert read_settings(EmbedderSettings).tls_of_embedder == caller
    for workload, mounted in (("gateway", {"gateway", "embedder"}), ("embedder", {"embedder"})):
        template = of_kind(encrypted, "Deployment")[workload]["spec"]["template"]
        assert template["metadata"]["annotations"]["prometheus.io/scheme"] == "https"
        files = _files_of(encrypted, workload)
        assert {f"/etc/creditline/{name}-tls/" for name in mounted} <= files
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container(encrypted, workload)[kind]
            assert "grpc" not in probe
            assert "tcpSocket" in probe or probe["httpGet"]["scheme"] == "HTTPS"
    assert "/etc/creditline/embedder-tls/" in _files_of(encrypted, "teacher")
    names = {
        workload: {
            volume["secret"]["secretName"]
            for volume in dict(pod_specs(encrypted))[workload]["volumes"]
            if "secret" in volume
        }
        for workload in ("gateway", "embedder", "teacher")
    }
    assert names["embedder"] == {"creditline-embedder-tls"}
    assert "creditline-caller-tls" in names["gateway"] & names["teacher"]


def test_compose_gives_secrets_as_files_to_those_that_read_them() -> None:
    compose = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())
    assert set(compose["secrets"]) == {"api-keys", "postgres-password"}
    for name, service in compose["services"].items():
        text = str(service.get("environment", {}))
        named = set(re.findall(r"/run/secrets/([\w-]+)", text))
        assert named == set(service.get("secrets", [])), name
        assert "${" not in text, name


def test_compose_with_tls_mounts_what_its_variables_name() -> None:
    services = yaml.safe_load((REPOSITORY / "deploy" / "compose.tls.yaml").read_text())["services"]
    usual = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())["services"]
    assert "prometheus-tls.yaml" in services.pop("prometheus")["command"][0]
    for name, service in services.items():
        assert name in usual
        module = importlib.import_module(f"creditline.{name}.settings")
        known = getattr(module, f"{name.capitalize()}Settings").model_fields
        mounted = tuple(volume.split(":")[-2] for volume in service["volumes"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])
        for variable, path in service["environment"].items():
            assert variable.removeprefix("CREDITLINE_").lower() in known
            assert path.rpartition("/")[0] in mounted


def test_prometheus_finds_the_metrics_of_every_service_of_ours(base: list[Manifest]) -> None:
    deployments = of_kind(base, "Deployment")
    for name in OURS:
        annotations = deployments[name]["spec"]["template"]["metadata"]["annotations"]
        ports = {port["name"]: str(port["containerPort"]) for port in container(base, name)["ports"]}
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": ports["metrics"]}
        assert ports["metrics"] == environment(base, name, SECRETS)[f"CREDITLINE_{name}_METRICS_PORT".upper()]
    public = of_kind(base, "Service")["gateway"]["spec"]["ports"]
    assert "metrics" not in {port["targetPort"] for port in public}


def test_every_selected_pod_exists_and_every_service_port_is_open(base: list[Manifest]) -> None:
    pods = {name: spec["containers"][0] for name, spec in pod_specs(base)}
    for name, service in of_kind(base, "Service").items():
        selected = service["spec"]["selector"]["app.kubernetes.io/name"]
        assert selected == name
        open_ports = {port["name"] for port in pods[selected]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports


def test_every_pod_runs_without_root_privileges_service_links_or_a_token(base: list[Manifest]) -> None:
    for name, spec in pod_specs(base):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["enableServiceLinks"] is False, name
        assert spec["automountServiceAccountToken"] is False, name
        for part in [*spec["containers"], *spec.get("initContainers", [])]:
            assert part["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert part["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= set(part["resources"]["requests"]), name
            assert "memory" in part["resources"]["limits"], name


def test_every_server_is_probed_and_our_grpc_servers_by_grpc(base: list[Manifest]) -> None:
    for name, spec in pod_specs(base):
        if name != "load-index":
            assert "livenessProbe" in spec["containers"][0], name
    assert container(base, "embedder")["readinessProbe"]["grpc"]["port"] == 7200
    assert container(base, "gateway")["startupProbe"]["grpc"]["port"] == 7100
    assert container(base, "gateway")["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_no_secret_and_no_registry_is_written_down(base: list[Manifest]) -> None:
    assert literal_secrets(base) == []
    for name, spec in pod_specs(base):
        assert all(
            "." not in part["image"].split("/")[0] for part in spec["containers"] if "/" in part["image"]
        ), name
        assert all(not part["image"].endswith(":latest") for part in spec["containers"]), name


@pytest.mark.parametrize("service", ["teacher", "embedder"])
def test_a_service_takes_a_gpu_where_and_only_where_one_is_reserved_for_it(
    service: str, base: list[Manifest], tmp_path: Path
) -> None:
    assert "nvidia.com/gpu" not in container(base, service)["resources"]["limits"]
    assert environment(base, service, SECRETS)["CREDITLINE_DEVICE"] == "cpu"
    with_gpus = render_with_components(tmp_path, "gpu", "gpu-embedder")
    limits = container(with_gpus, service)["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert "memory" in limits
    assert environment(with_gpus, service, SECRETS)["CREDITLINE_DEVICE"] == "cuda"


def test_a_release_of_ones_own_takes_the_reference_generators_place_in_every_pod() -> None:
    own = render("overlays/own-release")
    pods = dict(pod_specs(own))
    for workload in (*OURS, "load-index"):
        settings = environment(own, workload, SECRETS)
        assert settings["CREDITLINE_RELEASE_DIRECTORY"] == "/releases/release"
        assert not settings["CREDITLINE_GENERATOR_DIRECTORY"]
        mounted = {mount["name"]: mount for mount in container(own, workload)["volumeMounts"]}
        assert (mounted["release"]["mountPath"], mounted["release"]["readOnly"]) == ("/releases", True)
        claims = [volume.get("persistentVolumeClaim") for volume in pods[workload]["volumes"]]
        assert {"claimName": "creditline-release", "readOnly": True} in claims
    assert not pods["teacher"].get("initContainers")


def test_with_re_ranking_the_embedder_of_a_release_of_ones_own_loads_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render_with_components(tmp_path, "release", "reranking")
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    for name, value in environment(manifests, "embedder", SECRETS).items():
        monkeypatch.setenv(name, value)
    settings = read_settings(EmbedderSettings)
    assert settings.embedder_reranks
    assert settings.generator_directory is None, "the one that the release names"
    assert container(manifests, "embedder")["resources"]["limits"]["memory"] == "8Gi"


def test_the_example_reserves_a_gpu_for_the_teacher_alone() -> None:
    example = render("overlays/example")
    assert container(example, "teacher")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert environment(example, "teacher", SECRETS)["CREDITLINE_DEVICE"] == "cuda"
    assert "nvidia.com/gpu" not in container(example, "embedder")["resources"]["limits"]
    assert environment(example, "embedder", SECRETS)["CREDITLINE_DEVICE"] == "cpu"


def test_the_gateway_and_the_embedder_keep_a_pod_during_maintenance(base: list[Manifest]) -> None:
    budgets = of_kind(base, "PodDisruptionBudget")
    for name in ("gateway", "embedder"):
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert of_kind(base, "Deployment")[name]["spec"]["replicas"] >= 2


def _kustomizations() -> list[Path]:
    return sorted(K8S.rglob("kustomization.yaml"))


@pytest.mark.parametrize("path", _kustomizations(), ids=lambda path: str(path.parent.relative_to(REPOSITORY)))
def test_every_file_that_a_kustomization_names_is_there(path: Path) -> None:
    named = re.findall(r"(?m)^\s*- (?:path: )?([\w./-]+)\s*$", path.read_text())
    assert named
    for name in named:
        assert (path.parent / name).exists(), name
