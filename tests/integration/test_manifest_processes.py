"""The manifests' pods as real processes: own command, settings, variables and volumes; the gateway's routes between."""

import re
import shlex
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.manifests.objects import Name, of_kind
from tests import rendered
from tests.kubelet import Pod, Secrets, can_confine
from tests.real_aggregator import ENVIRONMENT
from tests.serving import eventually
from tests.silo_data import write_imagefolder
from tests.sni_router import SniRouter
from tests.vlm_folders import write_vlm

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
HOST = "localhost"
"""In place of aggregator.example."""

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

FEDERATION = """
name = "xray-captions"
rounds = 1
[participation]
silos = { min = 1, max = 1 }
[plan]
batch_size = 2
learning_rate = { initial = 0.05 }
"""

HERE = {
    "ISTHMUS_AGGREGATOR__LISTEN": "127.0.0.1:0",
    "ISTHMUS_AGGREGATOR__ENROLMENT__LISTEN": "127.0.0.1:0",
    "ISTHMUS_AGGREGATOR__HEALTH_LISTEN": "127.0.0.1:0",
    "ISTHMUS_AGGREGATOR__METRICS__LISTEN": "127.0.0.1:0",
}
"""Ports that are free on this machine."""


def guide_lines(program: str) -> list[list[str]]:
    """Every command of the guide that begins with this word."""
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and line[0] == program]


def isthmus(folder: Path, *arguments: str) -> str:
    """What a verb of the operator's command line prints."""
    command = [sys.executable, "-m", "isthmus", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def secrets_of_the_guide(folder: Path) -> Secrets:
    """What the guide's commands make of the files that its `isthmus ca init` wrote."""
    made: dict[str, dict[str, bytes]] = {}
    for line in guide_lines("kubectl"):
        if "secret" not in line or "isthmus" not in line:
            continue
        kind, name = line[line.index("secret") + 1 :][:2]
        options = [
            option.partition("=")[::2] for option in line if option.startswith(("--cert", "--key", "--from-file"))
        ]
        assert kind == ("generic" if options[0][0] == "--from-file" else "tls")
        keys = {"--cert": "tls.crt", "--key": "tls.key"}
        files = [
            value.partition("=")[::2] if option == "--from-file" else (keys[option], value) for option, value in options
        ]
        made[name] = {key: (folder / path).read_bytes() for key, path in files}
    return made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the guide's authority was made."""
    folder = tmp_path_factory.mktemp("keys")
    (init,) = [line for line in guide_lines("isthmus") if line[1:3] == ["ca", "init"]]
    isthmus(folder, *init[1:])
    return folder


@dataclass
class Replica:
    """A running aggregator's pod.

    Attributes:
        ports: Where it really listens, by the manifest's containerPort.
    """

    pod: Pod
    process: "subprocess.Popen[str]"
    ports: dict[int, int]

    def asked(self, probe: str) -> int:
        """What kubelet hears when it asks as this probe of the manifest says."""
        grpc_probe = rendered.container(self.pod.rendering)[probe]["grpc"]
        with grpc.insecure_channel(f"127.0.0.1:{self.ports[grpc_probe['port']]}") as channel:
            request = health_pb2.HealthCheckRequest(service=grpc_probe.get("service", ""))
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status

    def end(self) -> int:
        """Waits for the end; the exit code."""
        return self.process.wait(timeout=rendered.pod(self.pod.rendering)["terminationGracePeriodSeconds"])


@contextmanager
def replica_of(rendering: str, folder: Path, keys: Path) -> Iterator[Replica]:
    """The rendering's aggregator as a process; over a folder in place of a bucket."""
    pod = Pod(rendering, folder / "aggregator", secrets_of_the_guide(keys))
    store = {}
    if rendering != "local":
        (folder / "bucket").mkdir()
        pod.outside.append(folder / "bucket")
        store = {"ISTHMUS_AGGREGATOR__STORE": str(folder / "bucket" / "store")}
    process = pod.start(environment=HERE | store)
    try:
        assert process.stdout
        ready = process.stdout.readline().split()
        assert ready[:1] == ["ready:"], pod.logs.read_text()
        real = [rendered.port_of(ready[place]) for place in (1, 3, 5)]
        (started,) = re.findall(r'"metrics_port": (\d+)', pod.logs.read_text())
        yield Replica(pod, process, dict(zip((8443, 8444, 8445, 9464), [*real, int(started)], strict=True)))
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@contextmanager
def gateway_to(replica: Replica) -> Iterator[dict[int, SniRouter]]:
    """The rendering's gateway: a router for each listener, by the listener's port, with the routes that it has."""
    found = rendered.objects(replica.pod.rendering)
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in of_kind(found, "Service")}
    container = {one["name"]: one["containerPort"] for one in rendered.container(replica.pod.rendering)["ports"]}
    (gateway,) = of_kind(found, "Gateway")
    with ExitStack() as stack:
        routers = {}
        for listener in gateway["spec"]["listeners"]:
            targets = {}
            for route in of_kind(found, "TLSRoute"):
                backend = route["spec"]["rules"][0]["backendRefs"][0]
                (port,) = [one for one in services[backend["name"]] if one["port"] == backend["port"]]
                real = replica.ports[container[port["targetPort"]]]
                if route["spec"]["parentRefs"][0]["sectionName"] == listener["name"]:
                    assert route["spec"]["hostnames"] == ["aggregator.example"]
                    targets[HOST] = f"127.0.0.1:{real}"
            routers[listener["port"]] = stack.enter_context(SniRouter(targets))
        yield routers


@pytest.mark.parametrize("rendering", ["production", "local", "helm-production"])
def test_pod_drains_within_its_grace(rendering: str, tmp_path: Path, keys: Path) -> None:
    """Every probe is answered as it should be; in the drain readiness is lost at once, and the end is a good one."""
    with replica_of(rendering, tmp_path, keys) as replica:
        assert [replica.asked(probe) for probe in ("startupProbe", "livenessProbe", "readinessProbe")] == [SERVING] * 3
        trust = grpc.ssl_channel_credentials((keys / "pki" / "authority.pem").read_bytes())
        with grpc.secure_channel(f"{HOST}:{replica.ports[8444]}", trust) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == SERVING
            replica.process.send_signal(signal.SIGTERM)  # the open call keeps the drain going
            assert next(watched).status == NOT_SERVING
            assert replica.asked("readinessProbe") == NOT_SERVING
            watched.cancel()
        assert replica.end() == 0
        written = {path.name for path in replica.pod.root.iterdir()}
        assert written == {"etc", "scratch", "tmp"} | ({"var"} if rendering == "local" else set())


def test_pod_tells_its_metrics(tmp_path: Path, keys: Path) -> None:
    """At the port that the Service of metrics leads to, the pod's process tells Prometheus of its store."""
    with replica_of("production", tmp_path, keys) as replica:
        (service,) = rendered.objects("production")[Name("Service", "isthmus-aggregator-metrics")]["spec"]["ports"]
        (port,) = [p for p in rendered.container("production")["ports"] if p["name"] == service["targetPort"]]
        address = f"http://127.0.0.1:{replica.ports[port['containerPort']]}/metrics"

        assert eventually(lambda: b"\nisthmus_store_up 1" in urllib.request.urlopen(address, timeout=10).read())


@pytest.mark.skipif(not can_confine(), reason="only root can confine a process, and not on every machine")
def test_pod_is_confined(tmp_path: Path, keys: Path) -> None:
    """The process of these tests has no capability, can get none, and can write to its volumes alone, as its pod."""
    with replica_of("production", tmp_path, keys) as replica:
        status = Path(f"/proc/{replica.process.pid}/status").read_text()
        root = Path(f"/proc/{replica.process.pid}/mountinfo").read_text().splitlines()

        assert {re.findall(rf"^{name}:\s*(\S+)", status, re.MULTILINE)[0] for name in ("CapEff", "CapBnd")} == {
            "0" * 16
        }
        assert "NoNewPrivs:\t1" in status
        assert "ro" in [line.split()[5] for line in root if line.split()[4] == "/"][-1].split(",")


def test_pod_takes_up_a_new_certificate(tmp_path: Path, keys: Path) -> None:
    """A certificate that kubelet swaps in, as it does when cert-manager renewed the Secret, is shown from then on."""
    with replica_of("production", tmp_path, keys) as replica:
        first = ssl.get_server_certificate(("127.0.0.1", replica.ports[8444]))
        isthmus(keys, "ca", "server", "--ca", "pki", "--host", HOST)
        replica.pod.lay_out(secrets_of_the_guide(keys))

        assert eventually(lambda: ssl.get_server_certificate(("127.0.0.1", replica.ports[8444])) != first)
        assert replica.asked("livenessProbe") == SERVING


@pytest.mark.slow
def test_silos_pod_enrols_and_takes_part(tmp_path: Path, keys: Path) -> None:
    """Through the gateway's routes, TLS untouched, a silo's pod enrols by itself, trains, is counted, and ends."""
    with replica_of("production", tmp_path, keys) as replica, gateway_to(replica) as routers:
        members, enrolment = (f"{HOST}:{routers[port].port}" for port in (8443, 8444))
        silo = Pod("silo", tmp_path / "silo", {})
        write_vlm("llava", silo.path("/models/llava-1.5-7b"))
        write_imagefolder(silo.path("/data"))
        (tmp_path / "federation.toml").write_text(FEDERATION)
        call = ("--aggregator", members, "--credentials", str(keys / "pki" / "operator.pem"))
        model = str(silo.path("/models/llava-1.5-7b"))
        isthmus(tmp_path, "create", "federation.toml", "--model-config", model, *call)
        invite = ("silo", "invite", "hospital-north", "--federation", "xray-captions", "--enrol-at", enrolment)
        isthmus(tmp_path, *invite, "--out", "invitation", *call)
        silo.lay_out({"isthmus-silo-invitation": {"invitation": (tmp_path / "invitation").read_bytes()}})

        with silo.start(environment={"ISTHMUS_SILO__AGGREGATOR": members}) as agent:
            said, _ = agent.communicate(timeout=120)

        assert (agent.returncode, said) == (0, "silo_agent: the federation is finished.\n"), silo.logs.read_text()
        assert "hospital-north" in isthmus(tmp_path, "lineage", "--federation", "xray-captions", *call)
        with silo.start("check", environment={"ISTHMUS_SILO__AGGREGATOR": members}) as agent:
            said, _ = agent.communicate(timeout=120)
        assert [line for line in said.splitlines() if not line.startswith("OK")] == []
        assert {name for router in routers.values() for name in router.names} == {HOST}
        assert {path.name for path in silo.root.iterdir()} == {"data", "etc", "models", "tmp", "var"}


def test_gateway_closes_what_no_route_names(tmp_path: Path, keys: Path) -> None:
    """A handshake for a name that no route has ends at the gateway."""
    with replica_of("production", tmp_path, keys) as replica, gateway_to(replica) as routers:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ssl.get_server_certificate(("127.0.0.1", routers[8444].port))  # an address is no name: none is sent
        assert routers[8444].names == [""]


IDENTITY = """
import http.server, ssl, sys, threading
from aggregator.stores import open_store
asked = []

class Cloud(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path)
        self.answer("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA"
            "</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>"
            "2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
            "</AssumeRoleWithWebIdentityResponse>")
    def do_GET(self):
        asked.append(self.headers["x-amz-security-token"])
        self.answer("<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"
            "</ListBucketResult>")
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("pki/server.pem", "pki/server-key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
import os
at = f"https://localhost:{server.server_port}"
os.environ["AWS_ENDPOINT_URL_STS"] = at
assert list(open_store(f"s3://bucket?endpoint={at}&region=eu-central-1").list("catalog")) == []
print("\\n".join(asked))
"""


def test_bucket_opens_by_a_web_identity(keys: Path) -> None:
    """With what a platform's webhook mounts (a role, a token's file) the store's key is fetched, and used."""
    account = rendered.objects("production")[Name("ServiceAccount", "isthmus-aggregator")]
    role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    (keys / "token").write_text("the-token")
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("AWS_")}
    environment |= {"AWS_ROLE_ARN": role, "AWS_WEB_IDENTITY_TOKEN_FILE": str(keys / "token")}
    environment |= {"SSL_CERT_FILE": str(keys / "pki" / "authority.pem"), "NO_PROXY": "localhost"}
    done = subprocess.run(
        [sys.executable, "-c", IDENTITY],
        cwd=keys,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    exchange, used, *_ = [*done.stdout.splitlines(), "", ""]
    assert "WebIdentityToken=the-token" in exchange, done.stderr
    assert role.rpartition("/")[2] in exchange
    assert used == "session"
