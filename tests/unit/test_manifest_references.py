"""What no schema compares in the Kubernetes manifests: names, selectors, ports, paths, commands, settings."""

import copy
import re
from pathlib import Path

import pytest

import aggregator.__main__
import silo_agent.__main__
from deploy.manifests.judges import Waiver, against_waivers, load_waivers
from deploy.manifests.objects import Name, comparable, of_kind
from deploy.manifests.renderings import FOLDER, RENDERINGS, header
from deploy.manifests.restricted import violations
from tests import rendered
from tests.rendered import AGGREGATORS, EVERY, MADE_ELSEWHERE, MONITORS, PRODUCTION, SILOS

ROOT = Path(__file__).parents[2]

OFFERED = {
    "isthmus-aggregator": ("members", "enrolment"),
    "isthmus-aggregator-replicas": ("members", "enrolment"),
    "isthmus-aggregator-metrics": ("metrics",),
}
"""The ports of each Service, by the names of the container's."""

LET_IN = {
    "isthmus-aggregator": ("isthmus-callers", ("members", "enrolment")),
    "isthmus-aggregator-metrics": ("isthmus-scrapers", ("metrics",)),
}
"""Which label of a namespace each network policy asks for, and the ports that it opens."""


def is_selected(selector: dict, rendering: str) -> bool:
    """Whether a selector's labels are the pod's."""
    labels = rendered.owner(rendering)["spec"]["template"]["metadata"]["labels"]
    return bool(selector) and selector.items() <= labels.items()


def routes(rendering: str) -> list[dict]:
    """The routes by Gateway API."""
    return of_kind(rendered.objects(rendering), "TLSRoute")


def hosts(rendering: str) -> set[str]:
    """Every name that leads to the aggregator from outside."""
    ingresses = of_kind(rendered.objects(rendering), "Ingress")
    return {host for route in routes(rendering) for host in route["spec"]["hostnames"]} | {
        rule["host"] for ingress in ingresses for rule in ingress["spec"]["rules"]
    }


def test_renderings_are_those_that_are_made():
    """The folder holds what is rendered, and nothing else."""
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted(f"{name}.yaml" for name in RENDERINGS)


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_rendering_is_of_these_sources(rendering):
    """The rendering was made after the last change of what it is made of, and was not changed since."""
    first, _, rest = rendered.text(rendering).partition("\n")

    assert first == header(rendering, rest), "run make k8s-render"


@pytest.mark.parametrize("rendering", [name for name in RENDERINGS if RENDERINGS[name].twin])
def test_chart_makes_what_the_overlay_makes(rendering):
    """At its defaults a chart makes the same objects as its overlay."""
    ours, theirs = (comparable(rendered.text(name)) for name in (rendering, RENDERINGS[rendering].twin))

    assert sorted(ours) == sorted(theirs)
    for name in ours:
        assert ours[name] == theirs[name], str(name)


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_everything_is_in_its_namespace(rendering):
    """Every object is where its chart or overlay is installed."""
    for name, one in rendered.objects(rendering).items():
        found = one["metadata"]["name"] if name.kind == "Namespace" else one["metadata"]["namespace"]
        assert found == RENDERINGS[rendering].namespace, str(name)


@pytest.mark.parametrize("rendering", EVERY)
def test_selectors_select_the_pods(rendering):
    """Deployment, Services, budget, spreading and own network policies select the pods' labels."""
    found, owner = rendered.objects(rendering), rendered.owner(rendering)["spec"]
    selectors = [one["spec"]["selector"] for one in of_kind(found, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(found, "PodDisruptionBudget")]
    policies = of_kind(found, "NetworkPolicy")
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in policies if one["spec"]["podSelector"]]
    selectors += [owner["selector"]["matchLabels"]] if "selector" in owner else []
    spread = rendered.pod(rendering).get("topologySpreadConstraints", ())
    selectors += [one["labelSelector"]["matchLabels"] for one in spread]

    assert len(policies) >= 2
    assert [one for one in selectors if not is_selected(one, rendering)] == []


@pytest.mark.parametrize("rendering", EVERY)
def test_what_pods_mount_is_there(rendering):
    """Every volume is mounted, and every config map, secret, claim and account that is named is made here or known."""
    found, pod = rendered.objects(rendering), rendered.pod(rendering)
    mounts = [mount["name"] for mount in rendered.container(rendering)["volumeMounts"]]
    named = [Name("ServiceAccount", pod["serviceAccountName"])]
    named += [
        Name("ConfigMap", one["configMapRef"]["name"]) for one in rendered.container(rendering).get("envFrom", ())
    ]
    for volume in pod["volumes"]:
        named += [Name("ConfigMap", volume["configMap"]["name"])] if "configMap" in volume else []
        named += [Name("Secret", volume["secret"]["secretName"])] if "secret" in volume else []
        parts = volume.get("projected", {}).get("sources", ())
        named += [Name("Secret", part["secret"]["name"]) for part in parts]
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        named += [Name("PersistentVolumeClaim", claim)] if claim else []

    assert sorted(mounts) == sorted(volume["name"] for volume in pod["volumes"])
    assert [name for name in named if name not in found and name.name not in MADE_ELSEWHERE.get(name.kind, ())] == []


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_ports_are_those_that_are_served(rendering, tmp_path):
    """Container, Services and network policy have the ports at which the settings listen."""
    config, found = rendered.aggregator_settings(rendering, tmp_path), rendered.objects(rendering)
    ports = {port["name"]: port["containerPort"] for port in rendered.container(rendering)["ports"]}
    served = {
        "members": rendered.port_of(config.listen),
        "enrolment": rendered.port_of(config.enrolment.listen),
        "health": rendered.port_of(config.health_listen),
        "metrics": rendered.port_of(config.metrics.listen),
    }

    assert ports == served
    for name, offered in OFFERED.items():
        service = found[Name("Service", name)]["spec"]["ports"]
        assert {port["name"]: (port["port"], port["targetPort"]) for port in service} == {
            one: (served[one], one) for one in offered
        }
    for name, (label, wanted) in LET_IN.items():
        (rule,) = found[Name("NetworkPolicy", name)]["spec"]["ingress"]
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": {label: "true"}}}]
        assert [port["port"] for port in rule["ports"]] == [served[one] for one in wanted]


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_every_way_in_is_known(rendering):
    """No Service and no policy that lets anybody in is there but those whose ports are compared."""
    found = rendered.objects(rendering)
    into = {one["metadata"]["name"] for one in of_kind(found, "NetworkPolicy") if "ingress" in one["spec"]}

    assert {one["metadata"]["name"] for one in of_kind(found, "Service")} == set(OFFERED)
    assert into == set(LET_IN)


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_metrics_are_scrapers_alone(rendering, tmp_path):
    """A name has all replicas' addresses, unready ones too, at the port of metrics, and no gateway leads there."""
    found, config = rendered.objects(rendering), rendered.aggregator_settings(rendering, tmp_path)
    service = found[Name("Service", "isthmus-aggregator-metrics")]["spec"]
    ways_in = [*routes(rendering), *of_kind(found, "Ingress"), *of_kind(found, "Gateway")]

    assert config.metrics.listen == "0.0.0.0:9464"
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert [one for one in ways_in if re.search("9464|metrics", str(one["spec"]))] == []


@pytest.mark.parametrize("rendering", MONITORS)
def test_pod_monitor_finds_the_replicas(rendering):
    """The monitor selects the aggregator's pods and their port by its name, under the job that the alerts ask for."""
    (monitor,) = rendered.objects(rendering).values()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    labels = rendered.owner("production")["spec"]["template"]["metadata"]["labels"]
    alerts = (ROOT / "deploy" / "monitoring" / "alerts.yml").read_text(encoding="utf-8")

    assert is_selected(monitor["spec"]["selector"]["matchLabels"], "production")
    assert endpoint["port"] in [port["name"] for port in rendered.container("production")["ports"]]
    assert set(re.findall(r'job="([^"]+)"', alerts)) == {labels[monitor["spec"]["jobLabel"]]}


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_replicas_have_a_name_with_all_addresses(rendering):
    """One Service has no address of its own, so that its name has those of all replicas."""
    found = rendered.objects(rendering)

    assert found[Name("Service", "isthmus-aggregator-replicas")]["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in found[Name("Service", "isthmus-aggregator")]["spec"]


@pytest.mark.parametrize("rendering", ["production", "helm-production"])
def test_gateway_passes_tls_through(rendering):
    """Both listeners leave TLS alone; each route has one of them, its name, and the Service's port of that number."""
    found = rendered.objects(rendering)
    (gateway,) = of_kind(found, "Gateway")
    listeners = {one["name"]: one for one in gateway["spec"]["listeners"]}
    service = {port["port"] for port in found[Name("Service", "isthmus-aggregator")]["spec"]["ports"]}

    assert {(one["protocol"], str(one["tls"])) for one in listeners.values()} == {("TLS", "{'mode': 'Passthrough'}")}
    assert len(routes(rendering)) == len(listeners) == 2
    for route in routes(rendering):
        (parent,), (rule,) = route["spec"]["parentRefs"], route["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        listener = listeners[parent["sectionName"]]
        assert parent["name"] == gateway["metadata"]["name"]
        assert route["spec"]["hostnames"] == [listener["hostname"]]
        assert (backend["name"], backend["port"]) == ("isthmus-aggregator", listener["port"])
        assert backend["port"] in service


@pytest.mark.parametrize("rendering", ["production-ingress", "helm-production-ingress"])
def test_ingress_passes_tls_through(rendering):
    """Each port of the Service has a host of its own, and no certificate is the ingress's to show."""
    (ingress,) = of_kind(rendered.objects(rendering), "Ingress")
    backends = {
        path["backend"]["service"]["port"]["name"]: (rule["host"], path["backend"]["service"]["name"])
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    }

    assert ingress["metadata"]["annotations"] == {"haproxy.org/ssl-passthrough": "true"}
    assert "tls" not in ingress["spec"]
    assert {name for _, name in backends.values()} == {"isthmus-aggregator"}
    assert sorted(backends) == ["enrolment", "members"]
    assert len({host for host, _ in backends.values()}) == 2


@pytest.mark.parametrize("rendering", PRODUCTION)
def test_certificate_has_every_name(rendering):
    """Cert-manager's certificate is for every host that leads here and both Services, and lands where it is mounted."""
    found = rendered.objects(rendering)
    certificate = found[Name("Certificate", "isthmus-server")]["spec"]
    issuer = found[Name("Issuer", certificate["issuerRef"]["name"])]["spec"]
    services = {f"{name}.isthmus.svc" for name, offered in OFFERED.items() if "members" in offered}
    parts = rendered.mounted(rendering)["/etc/isthmus/pki"]["projected"]["sources"]
    mounted = {one["secret"]["name"] for one in parts}
    hours = [int(certificate[key].removesuffix("h")) for key in ("renewBefore", "duration")]

    assert hosts(rendering) | services <= set(certificate["dnsNames"])
    assert {certificate["secretName"], issuer["ca"]["secretName"]} <= mounted
    assert 0 < 3 * hours[0] <= hours[1]
    assert certificate["usages"] == ["digital signature", "server auth"]


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_settings_files_are_mounted(rendering, tmp_path):
    """Every file that the settings name is one that the volume of keys has, and the other way round."""
    config = rendered.aggregator_settings(rendering, tmp_path)
    parts = rendered.mounted(rendering)["/etc/isthmus/pki"]["projected"]["sources"]
    files = {f"/etc/isthmus/pki/{item['path']}" for part in parts for item in part["secret"]["items"]}
    wanted = {config.client_authorities, config.signing_key, config.tls.certificate, config.tls.key}
    wanted |= {config.tls.authority, config.enrolment.certificate, config.enrolment.key}

    assert {str(path) for path in wanted} == files


@pytest.mark.parametrize("rendering", SILOS)
def test_silos_settings_are_mounted(rendering, tmp_path):
    """Credentials and state lie on the volume that lasts; invitation, data and model where they are mounted."""
    config, mounted = rendered.silo_settings(rendering, tmp_path), rendered.mounted(rendering)

    assert config.credentials.parent == Path("/var/lib/isthmus")
    assert Path("/var/lib/isthmus") in config.state.parents
    assert mounted["/var/lib/isthmus"]["persistentVolumeClaim"]["claimName"] == "isthmus-silo-state"
    assert mounted[str(config.invitation.parent)]["secret"]["secretName"] == "isthmus-silo-invitation"
    assert str(config.data.folder) in mounted
    assert config.trainer.options["model"].startswith("/models/")
    assert "/models" in mounted


def test_stores_are_shared_or_alone(tmp_path):
    """Replicas share a bucket; the one over a volume is alone, and its store lies in the volume, not at its root."""
    for rendering in PRODUCTION:
        assert rendered.aggregator_settings(rendering, tmp_path).store.startswith("s3://")
    store = Path(rendered.aggregator_settings("local", tmp_path).store)

    assert rendered.owner("local")["spec"]["replicas"] == 1
    assert rendered.owner("local")["spec"]["strategy"] == {"type": "Recreate"}
    assert "persistentVolumeClaim" in rendered.mounted("local")[str(store.parent)]
    assert of_kind(rendered.objects("local"), "PodDisruptionBudget") == []
    assert of_kind(rendered.objects("local"), "HorizontalPodAutoscaler") == []


@pytest.mark.parametrize("rendering", PRODUCTION)
def test_bucket_is_opened_by_the_platforms_word(rendering):
    """The service account says who the replicas are at the bucket; no key of it is anywhere."""
    account = rendered.objects(rendering)[Name("ServiceAccount", "isthmus-aggregator")]

    assert list(account["metadata"]["annotations"]) == ["eks.amazonaws.com/role-arn"]
    assert not re.search(r"AWS_(ACCESS|SECRET)|GOOGLE_|AZURE_", rendered.text(rendering))


@pytest.mark.parametrize("rendering", EVERY)
def test_command_is_the_images(rendering):
    """The command is the image's, and its arguments are understood by the command line itself."""
    image = "aggregator" if rendering in AGGREGATORS else "silo"
    dockerfile = (ROOT / "deploy" / f"{image}.Dockerfile").read_text(encoding="utf-8").split("FROM silo AS demo")[0]
    entry = re.findall(r"^ENTRYPOINT \[(.*)\]", dockerfile, re.MULTILINE)[-1]
    container = rendered.container(rendering)
    parser = (aggregator if image == "aggregator" else silo_agent).__main__.build_parser()

    assert container["command"] == [word.strip(' "') for word in entry.split(",")]
    assert str(parser.parse_args(container["args"]).config) == container["args"][-1]
    assert container["image"].partition(":")[0].rpartition("/")[2] == f"isthmus-{image}"


def test_waivers_have_reasons_and_objects():
    """Every waiver has a sentence for its reason, and is for an object that there is."""
    there = {str(name) for rendering in EVERY for name in rendered.objects(rendering)}

    assert [waiver for waiver in load_waivers() if len(waiver.reason) < 40 or waiver.object not in there] == []


def test_findings_and_waivers_must_meet():
    """A finding without waiver, a waiver without finding, and a waiver without reason are all told."""
    waivers = [Waiver("B", "Pod/b", "why"), Waiver("C", "Pod/c", "")]
    told = against_waivers({("A", "Pod/a"): "bad", ("C", "Pod/c"): "bad"}, waivers)

    assert told == ["A Pod/a: bad", "B Pod/b: waived, but nothing fails", "C Pod/c: waived without a reason"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("securityContext", "runAsNonRoot"), False),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}),
        (("securityContext", "runAsUser"), 0),
        (("hostNetwork",), True),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
        (("containers", 0, "securityContext", "privileged"), True),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        (("containers", 0, "ports", 0, "hostPort"), 8443),
        (("volumes", 0), {"name": "config", "hostPath": {"path": "/"}}),
    ],
)
def test_what_is_not_restricted_is_found(path, value):
    """Each control of the profile, broken in a pod that was restricted, is told."""
    pod = copy.deepcopy(rendered.pod("production"))
    place = pod
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if path[0] == "securityContext":
        pod["containers"][0]["securityContext"].pop(path[1], None)

    assert len(list(violations(pod))) == 1
