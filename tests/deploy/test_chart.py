"""The chart is one that Helm takes, renders what Kubernetes takes, and runs a mesh that does what the chart says of it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from meshproxy.config.content import Content
from meshproxy.config.load import load
from tests.kit.places import ROOT

helm = pytest.importorskip("helm_python.chart", reason="there is no Helm for this system")
kubernetes = pytest.importorskip("kubernetes_validate", reason="there are no schemas of Kubernetes here")
HelmError = pytest.importorskip("helm_python.errors").HelmError
CHART = ROOT / "deploy/helm/meshproxy"
VERSIONS = ("1.29", "1.33")
"""Of Kubernetes."""
EVERYTHING: dict[str, Any] = {
    "config": {"server": {"path": "/tools", "allow_unauthenticated": True}, "upstreams": {"docs": {"url": "https://docs.example.com/mcp"}}},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "certificate", "annotations": {"a": "b"}},
    "persistence": {"enabled": True, "storageClass": "fast"},
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {"from": [{"namespaceSelector": {}}], "egress": [{"to": [{"podSelector": {}}]}]},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"team": "a"}, "keySecret": {"name": "scraper"}}},
    "secretFiles": ["mesh-keys"],
    "env": [{"name": "DOCS_TOKEN", "valueFrom": {"secretKeyRef": {"name": "docs", "key": "token"}}}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "imagePullSecrets": [{"name": "registry"}],
    "replicaCount": 2,
    "service": {"annotations": {"a": "b"}},
    "serviceAccount": {"annotations": {"a": "b"}},
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
}  # fmt: skip
RELEASES = {
    "nothing set": {},
    "everything set": EVERYTHING,
    "things of one's own": {"existingConfigMap": "mine", "serviceAccount": {"create": False}, "persistence": {"enabled": True, "existingClaim": "mine"}, "networkPolicy": {"enabled": False}},
}  # fmt: skip


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """What a release with these values has, by its kind."""
    made = helm.Chart.load(str(CHART)).render(values, name="mesh", namespace="tools")
    objects = [each for name, text in made.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text)]
    found = {each["kind"]: each for each in objects if each}
    assert len(found) == sum(map(bool, objects))
    return found


def pod(values: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = rendered(values)["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("values", RELEASES.values(), ids=RELEASES)
def test_helm_finds_nothing_wrong(values: dict[str, Any]) -> None:
    report = helm.lint(str(CHART), values, strict=True)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", RELEASES.values(), ids=RELEASES)
def test_kubernetes_takes_what_is_rendered(values: dict[str, Any], version: str) -> None:
    found = rendered(values)
    # Of an operator, and so not among the schemas of Kubernetes itself.
    found.pop("ServiceMonitor", None)
    assert {"Deployment", "Service"} <= found.keys()
    for each in found.values():
        kubernetes.validate(each, version, strict=True)


@pytest.mark.parametrize("template", sorted((CHART / "templates").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_template_is_among_what_is_checked(template: Path) -> None:
    made = helm.Chart.load(str(CHART)).render(EVERYTHING, name="mesh", namespace="tools")
    assert made[f"meshproxy/templates/{template.name}"].strip()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"replicas": 2}, "'replicas' not allowed"),
        ({"image": {"tag": 1}}, "'/image/tag'"),
        ({"service": {"port": 0}}, "'/service/port'"),
        ({"secretFiles": ["Not A Name"]}, "'/secretFiles/0'"),
        ({"ingress": {"hosts": []}}, "'hosts' not allowed"),
    ],
)
def test_a_mistake_in_the_values_is_refused(values: dict[str, Any], place: str) -> None:
    with pytest.raises(HelmError, match=place):
        helm.Chart.load(str(CHART)).validate_schema(values)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["nothing set", "everything set"])
def test_the_config_of_a_release_is_one_that_a_mesh_takes(values: dict[str, Any]) -> None:
    text = rendered(values)["ConfigMap"]["data"]["mesh.yaml"]
    path = CHART / "mesh.yaml"
    config = load(path.name, content=Content(path, "", (path,), text.encode()))
    assert [spec.name for spec in config.enabled] == list(values.get("config", {}).get("upstreams", {}))


def test_it_runs_without_rights_on_a_root_that_can_only_be_read() -> None:
    spec = pod({})
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/var/lib/meshproxy", "/tmp"}  # of the container


def test_an_edit_of_the_config_reaches_a_running_pod() -> None:
    spec, edited = (
        rendered({"config": {"upstreams": {"docs": {"url": f"https://{host}.example.com/mcp"}}}})["Deployment"]["spec"]
        for host in ("one", "two")
    )
    assert spec == edited, "an edit of the config alone starts no new pods"
    [mount] = [each for each in spec["template"]["spec"]["containers"][0]["volumeMounts"] if each["name"] == "config"]
    assert "subPath" not in mount, "what is mounted by subPath never changes"


def test_the_ingress_leads_to_the_endpoint_and_to_nothing_inside() -> None:
    [rule] = rendered(EVERYTHING)["Ingress"]["spec"]["rules"]
    assert [each["path"] for each in rule["http"]["paths"]] == ["/tools", "/.well-known"]


def test_the_monitor_and_the_budget_mean_the_pods_of_the_release() -> None:
    found = rendered(EVERYTHING)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for kind, selector in (
        ("Service", found["Service"]["spec"]["selector"]),
        ("PodDisruptionBudget", found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
        ("NetworkPolicy", found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
        ("Deployment", found["Deployment"]["spec"]["selector"]["matchLabels"]),
    ):
        assert selector, kind
        assert selector.items() <= labels, kind
    monitor = found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["path"] == "/metrics"
    assert monitor["endpoints"][0]["authorization"]["credentials"] == {"name": "scraper", "key": "key"}
    [port] = found["Service"]["spec"]["ports"]
    assert port["name"] == monitor["endpoints"][0]["port"]


def test_the_chart_and_the_package_have_one_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == version("meshproxy")
