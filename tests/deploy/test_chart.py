"""The chart is one that Helm takes, renders what Kubernetes takes, and runs a mesh that does what the chart says of it."""

import base64
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
    "autoscaling": {"enabled": True, "sessions": 2000},
    "cluster": {"preStopSeconds": 3},
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
    "two replicas": {"replicaCount": 2, "config": {"cluster": {"key": "${CLUSTER_KEY}"}}},
    "things of one's own": {"replicaCount": 2, "cluster": {"keySecret": "mine"}, "existingConfigMap": "mine", "serviceAccount": {"create": False}, "persistence": {"enabled": True, "existingClaim": "mine"}, "networkPolicy": {"enabled": False}},
}  # fmt: skip


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    """What a release with these values has, by its kind."""
    made = helm.Chart.load(str(CHART)).render(values, name="mesh", namespace="tools")
    objects = [each for name, text in made.items() if name.endswith(".yaml") for each in yaml.safe_load_all(text)]
    # Of Services there are two, and the one for the replicas among themselves goes by its component.
    found = {
        each["metadata"]["labels"].get("app.kubernetes.io/component", each["kind"]): each for each in objects if each
    }
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
    text = text.replace("${file:/etc/meshproxy-cluster/key}", "a key of a release that is long enough")
    config = load(path.name, {"POD_IP": "10.1.2.3"}, content=Content(path, "", (path,), text.encode()))
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


def test_replicas_find_each_other_and_have_one_key() -> None:
    found = rendered(EVERYTHING)
    peers, key, spec = found["peers"], found["Secret"], pod(EVERYTHING)
    cluster = yaml.safe_load(found["ConfigMap"]["data"]["mesh.yaml"])["cluster"]
    assert cluster["peers"] == [f"{peers['metadata']['name']}:7946"]
    assert peers["spec"]["clusterIP"] == "None"
    assert peers["spec"]["publishNotReadyAddresses"]
    [port] = peers["spec"]["ports"]
    [container] = spec["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert cluster["listen"] == f"0.0.0.0:{ports[port['targetPort']]}"
    assert {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in container["env"]
    [volume] = [each["secret"] for each in spec["volumes"] if each["name"] == "cluster-key"]
    assert volume["secretName"] == key["metadata"]["name"]
    [mount] = [each for each in container["volumeMounts"] if each["name"] == "cluster-key"]
    assert cluster["key"] == f"${{file:{mount['mountPath']}/key}}"
    assert len(base64.b64decode(key["data"]["key"])) >= 32
    # Where somebody scales, nobody else says how many there are; and no client is kept at its pod.
    assert "replicas" not in found["Deployment"]["spec"]
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    assert "sessionAffinity" not in found["Service"]["spec"]


def test_only_replicas_reach_the_private_port_of_replicas() -> None:
    found = rendered(EVERYTHING)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    [private] = [rule for rule in found["NetworkPolicy"]["spec"]["ingress"] if rule["ports"] == [{"port": "peers"}]]
    [only] = private["from"]
    assert only["podSelector"]["matchLabels"].items() <= labels


def test_what_a_release_says_of_its_cluster_goes_before_what_the_chart_says() -> None:
    found = rendered(RELEASES["two replicas"])
    cluster = yaml.safe_load(found["ConfigMap"]["data"]["mesh.yaml"])["cluster"]
    assert cluster["key"] == "${CLUSTER_KEY}"
    assert cluster["peers"] == ["mesh-meshproxy-peers:7946"]
    own = rendered(RELEASES["things of one's own"])
    assert "Secret" not in own


def test_one_replica_has_nothing_of_a_cluster() -> None:
    found = rendered({})
    assert found.keys().isdisjoint({"peers", "Secret", "HorizontalPodAutoscaler"})
    assert "cluster" not in found["ConfigMap"]["data"]["mesh.yaml"]
    assert "lifecycle" not in pod({})["containers"][0]


def test_the_chart_and_the_package_have_one_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == version("meshproxy")
