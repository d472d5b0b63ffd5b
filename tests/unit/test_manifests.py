"""The Kubernetes manifests are hardened: every field that docs/kubernetes.md names, in every rendering."""

import pytest

from aggregator.config import UPLOAD_WINDOW_BYTES
from aggregator.probes import LIVE
from deploy.manifests.objects import Name, of_kind
from deploy.manifests.restricted import violations
from tests import rendered
from tests.rendered import AGGREGATORS, EVERY, PRODUCTION, SILOS

REPLICA_LIMIT_BYTES = 512 << 20
"""The bar."""

PROCESS_BYTES = 128 << 20
"""A replica with nothing to do, and what it holds beyond its windows; docs/LOG.md has the measurements."""

PULL_BYTES = 4 << 20

AFTER_THE_DRAIN_SECONDS = 2 * 5 + 60 + 20
"""Two threads that may take 5 s to end, and a call of the store that may take 60 s and be tried again for 20 s."""


@pytest.mark.parametrize("rendering", EVERY)
def test_pod_is_restricted(rendering):
    """The API server lets every pod into a namespace with the restricted profile."""
    assert list(violations(rendered.pod(rendering))) == []


@pytest.mark.parametrize("rendering", [name for name in EVERY if not name.startswith("helm")])
def test_namespace_enforces_the_restricted_profile(rendering):
    """The namespace refuses, warns of and records every pod that is not, by the newest version of the profile."""
    (namespace,) = of_kind(rendered.objects(rendering), "Namespace")
    labels = namespace["metadata"]["labels"]

    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"


@pytest.mark.parametrize("rendering", EVERY)
def test_root_is_read_only_and_user_is_the_images(rendering):
    """The image's user and group, a root that cannot be written, and an own /tmp of bounded size on disk."""
    context, pod = rendered.container(rendering)["securityContext"], rendered.pod(rendering)["securityContext"]
    temporary = rendered.mounted(rendering)["/tmp"]["emptyDir"]

    assert context["readOnlyRootFilesystem"] is True
    assert (pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) == (10001, 10001, 10001)
    assert set(temporary) == {"sizeLimit"}


@pytest.mark.parametrize("rendering", EVERY)
def test_no_token_and_no_service_variables(rendering):
    """No pod holds a token of the cluster's API, nor variables that the cluster makes of Services' names."""
    account = rendered.objects(rendering)[Name("ServiceAccount", rendered.pod(rendering)["serviceAccountName"])]

    assert account["automountServiceAccountToken"] is False
    assert rendered.pod(rendering)["automountServiceAccountToken"] is False
    assert rendered.pod(rendering)["enableServiceLinks"] is False


@pytest.mark.parametrize("rendering", EVERY)
def test_secrets_are_files(rendering):
    """No secret is in a variable or in the manifests; files of secrets are read-only, and nobody else's to read."""
    container, volumes = rendered.container(rendering), rendered.mounted(rendering)
    secret = {path: one.get("secret") or one.get("projected") for path, one in volumes.items()}

    assert of_kind(rendered.objects(rendering), "Secret") == []
    assert "secretKeyRef" not in str(container.get("env"))
    assert "secretRef" not in str(container.get("envFrom"))
    assert {one["defaultMode"] for one in secret.values() if one} == {0o440}
    assert all(mount["readOnly"] for mount in container["volumeMounts"] if secret[mount["mountPath"]])


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_probes_ask_health_where_it_is_served(rendering, tmp_path):
    """Start and life by the service that stays up without a store, readiness by the one that does not; by gRPC."""
    port = rendered.port_of(rendered.aggregator_settings(rendering, tmp_path).health_listen)
    container = rendered.container(rendering)

    assert container["startupProbe"]["grpc"] == {"port": port, "service": LIVE}
    assert container["livenessProbe"]["grpc"] == {"port": port, "service": LIVE}
    assert container["readinessProbe"]["grpc"] == {"port": port}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 60


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_plaintext_health_is_kubelets_alone(rendering, tmp_path):
    """No Service, route or network policy leads to the port that speaks plaintext."""
    config = rendered.aggregator_settings(rendering, tmp_path)
    others = {name: one for name, one in rendered.objects(rendering).items() if name.kind != "Deployment"}
    (name,) = [p["name"] for p in rendered.container(rendering)["ports"] if p["containerPort"] == 8445]

    assert rendered.port_of(config.health_listen) == 8445
    for owner, one in others.items():
        told = str({key: value for key, value in one.items() if key != "data"})
        assert [word for word in ("8445", f"'{name}'") if word in told] == [], str(owner)


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_drain_is_longer_than_an_upload_window(rendering, tmp_path):
    """The slowest upload that is allowed brings a whole window within the drain, and the grace outlasts both."""
    config = rendered.aggregator_settings(rendering, tmp_path)
    window_seconds = UPLOAD_WINDOW_BYTES / config.limits.min_upload_bytes_per_second
    before = rendered.container(rendering)["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = rendered.pod(rendering)["terminationGracePeriodSeconds"]

    assert window_seconds < config.drain_seconds
    assert type(config).model_fields["drain_seconds"].default < config.drain_seconds  # the default is for trials
    assert before + config.drain_seconds + AFTER_THE_DRAIN_SECONDS < grace
    readiness = rendered.container(rendering)["readinessProbe"]
    assert before >= readiness["periodSeconds"] * readiness["failureThreshold"]


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_replica_fits_into_its_memory(rendering, tmp_path):
    """The limit is 512 MiB, asked for as a whole, and what the settings allow at once fits into it."""
    resources, limits = (
        rendered.container(rendering)["resources"],
        rendered.aggregator_settings(rendering, tmp_path).limits,
    )
    windows = limits.max_uploads * UPLOAD_WINDOW_BYTES + limits.max_pulls * PULL_BYTES

    assert rendered.bytes_of(resources["limits"]["memory"]) == REPLICA_LIMIT_BYTES
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert PROCESS_BYTES + windows + limits.memory_budget_bytes <= REPLICA_LIMIT_BYTES


@pytest.mark.parametrize("rendering", AGGREGATORS)
def test_scratch_has_room_and_is_no_memory(rendering, tmp_path):
    """A creation, and a projector with two tensors of optimizer state, fit; on the node's disk, within its limit."""
    config = rendered.aggregator_settings(rendering, tmp_path)
    volume = rendered.mounted(rendering)[str(config.scratch)]["emptyDir"]
    disk = rendered.container(rendering)["resources"]["limits"]["ephemeral-storage"]

    assert "medium" not in volume
    assert 4 * config.limits.max_projector_bytes <= rendered.bytes_of(volume["sizeLimit"]) < rendered.bytes_of(disk)


@pytest.mark.parametrize("rendering", EVERY)
def test_every_resource_is_asked_for_and_limited(rendering):
    """CPU, memory and disk of every container have a request and a limit that is no less."""
    resources = rendered.container(rendering)["resources"]

    for kind in ("cpu", "memory", "ephemeral-storage"):
        assert 0 < rendered.bytes_of(resources["requests"][kind]) <= rendered.bytes_of(resources["limits"][kind])


@pytest.mark.parametrize("rendering", PRODUCTION)
def test_replicas_come_and_go_one_by_one(rendering):
    """By CPU from 3 on, not two on a node, none but one away for an eviction, downwards slower than a drain."""
    found = rendered.objects(rendering)
    scaler = found[Name("HorizontalPodAutoscaler", "isthmus-aggregator")]["spec"]
    budget = found[Name("PodDisruptionBudget", "isthmus-aggregator")]["spec"]
    apart = rendered.pod(rendering)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    down = scaler["behavior"]["scaleDown"]["policies"]

    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    assert scaler["metrics"][0]["resource"]["target"]["type"] == "Utilization"
    assert 3 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in rendered.owner(rendering)["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert [term["topologyKey"] for term in apart] == ["kubernetes.io/hostname"]
    assert [(policy["type"], policy["value"]) for policy in down] == [("Pods", 1)]
    assert down[0]["periodSeconds"] >= rendered.pod(rendering)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("rendering", EVERY)
def test_network_is_denied_by_default(rendering):
    """All pods of the namespace are denied everything in both directions; names are asked of the cluster alone."""
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(rendered.objects(rendering), "NetworkPolicy")}
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (own,) = [spec for name, spec in policies.items() if name in ("isthmus-aggregator", "isthmus-silo")]

    assert policies["default-deny"] == everything
    assert {(port["protocol"], port["port"]) for port in own["egress"][0]["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert own["egress"][0]["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}


@pytest.mark.parametrize("rendering", EVERY)
def test_the_nodes_own_addresses_are_out_of_reach(rendering):
    """Wherever a policy lets pods out to any address, the cloud's metadata service is excepted."""
    egress = [
        rule for one in of_kind(rendered.objects(rendering), "NetworkPolicy") for rule in one["spec"].get("egress", ())
    ]
    blocks = [to["ipBlock"] for rule in egress for to in rule["to"] if "ipBlock" in to]

    assert {block["cidr"]: block["except"] for block in blocks} in (
        {},
        {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10"]},
    )


@pytest.mark.parametrize("rendering", SILOS)
def test_nobody_calls_a_silo(rendering):
    """A silo has no Service, no port and no rule that lets anybody in; out it reaches the aggregator's ports."""
    found = rendered.objects(rendering)
    own = found[Name("NetworkPolicy", "isthmus-silo")]["spec"]

    assert of_kind(found, "Service") == []
    assert "ports" not in rendered.container(rendering)
    assert (own["policyTypes"], "ingress" in own) == (["Egress"], False)
    assert {port["port"] for port in own["egress"][1]["ports"]} == {8443, 8444}


@pytest.mark.parametrize("rendering", SILOS)
def test_silos_data_is_only_read(rendering):
    """Pictures and models are mounted read-only; nothing but the state and /tmp can be written."""
    mounts = rendered.container(rendering)["volumeMounts"]

    assert {one["mountPath"] for one in mounts if not one.get("readOnly")} == {"/var/lib/isthmus", "/tmp"}
    assert rendered.mounted(rendering)["/data"]["persistentVolumeClaim"]["readOnly"] is True


@pytest.mark.parametrize("rendering", SILOS)
def test_one_agent_at_a_time(rendering):
    """Two agents never share the state: the old pod is gone before the next one starts."""
    spec = rendered.owner(rendering)["spec"]

    if rendered.owner(rendering)["kind"] == "Deployment":
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    else:
        assert (spec["parallelism"], spec["podReplacementPolicy"]) == (1, "Failed")


@pytest.mark.parametrize("rendering", SILOS)
def test_job_has_its_gpu(rendering, tmp_path):
    """The job trains on the GPU that it asks for; an eviction counts for no failure. The deployment asks for none."""
    spec, limits = rendered.owner(rendering)["spec"], rendered.container(rendering)["resources"]["limits"]
    device = rendered.silo_settings(rendering, tmp_path).compute.device

    if rendered.owner(rendering)["kind"] == "Job":
        assert (limits["nvidia.com/gpu"], device) == ("1", "cuda")
        assert spec["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    else:
        assert ("nvidia.com/gpu" in limits, device) == (False, "cpu")
