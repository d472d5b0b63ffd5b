"""docker-compose.yml is the demo in containers, as private as it says, and the settings it mounts are right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import aggregator.config
import silo_agent.config
from deploy.compose.__main__ import ADDRESS, HOST, STEPS, recipe_of
from deploy.demo.pictures import TOPICS
from deploy.demo.recipe import FEDERATION, RECIPE
from isthmus.errors import ConfigInvalid
from tests.compose.faults import FAULTS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AROUND = {*STEPS, "authority", "aggregator", "store", "gate"}
ON_DEMAND = {"isthmus": "operator", "prometheus": "monitoring", "grafana": "monitoring"}
OURS = {"isthmus-aggregator", "isthmus-demo", "isthmus-gate", "isthmus-silo", "isthmus-store"}
GATE = (ROOT / "deploy" / "compose" / "gate.cfg").read_text(encoding="utf-8")
DIGEST = "@sha256:[0-9a-f]{64}"
VERSION = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[0]


def mounts(service: str) -> dict[str, str]:
    """Where a service sees which volume or file: target by source; what is each container's own has no source."""
    parts = [volume.split(":") for volume in SERVICES[service].get("volumes", ()) if ":" in volume]
    return {source: target for source, target, *_ in parts}


def members(network: str) -> set[str]:
    """Who is on a network."""
    return {name for name, service in SERVICES.items() if network in service.get("networks", ())}


def test_every_topic_has_its_silo() -> None:
    """The silos are the demo's topics; the others are what they meet, the steps, and what is asked for by name."""
    assert set(SERVICES) - AROUND - set(ON_DEMAND) == set(TOPICS)
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        name: [profile] for name, profile in ON_DEMAND.items()
    }


@pytest.mark.parametrize("topic", TOPICS)
def test_silo_sees_its_own_volume_alone(topic: str) -> None:
    """A silo mounts the volume of its own data and no other silo's, and its name comes from the composition."""
    silos = [source for source in mounts(topic) if source.startswith("silo-")]

    assert silos == [f"silo-{topic}"]
    assert SERVICES[topic]["environment"] == {"ISTHMUS_SILO__SILO": topic}


@pytest.mark.parametrize("topic", TOPICS)
def test_silo_reaches_the_gate_alone(topic: str) -> None:
    """A silo has one network, which leads nowhere and on which nobody but the gate is."""
    assert SERVICES[topic]["networks"] == [f"site-{topic}"]
    assert members(f"site-{topic}") == {topic, "gate"}
    assert COMPOSE["networks"][f"site-{topic}"] == {"internal": True}


def test_only_preparing_sees_the_internet() -> None:
    """All but the one that fetches, and the two screens on this machine, live on networks that lead nowhere."""
    assert members("outside") == {"prepare"}
    assert members("screens") == {"prometheus", "grafana"}
    assert {name for name, network in COMPOSE["networks"].items() if network != {"internal": True}} == {
        "outside",
        "screens",
    }


def test_authority_is_made_where_nobody_reaches_it() -> None:
    """Private keys of the authority are made without a network, and seen by replicas and the operator."""
    assert SERVICES["authority"]["network_mode"] == "none"
    assert {service for service in SERVICES if "pki" in mounts(service)} == {"authority", "aggregator", "isthmus"}


def test_only_replicas_and_operators_reach_the_store() -> None:
    """The store's network has the replicas, and the operator's command line, which reads the bucket itself."""
    assert members("storage") == {"store", "aggregator", "isthmus"}


def test_nobody_elsewhere_reaches_a_port() -> None:
    """What is published, is for this machine alone."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("service", SERVICES)
def test_containers_have_few_rights(service: str) -> None:
    """Every container's root is read-only, and it has no capabilities and gets none."""
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges:true"]


def test_images_are_built_or_pinned() -> None:
    """Every image is built from this tree, or has an exact version and digest, which the environment may replace."""
    pulled = {service["image"] for service in SERVICES.values()} - OURS

    assert all(re.fullmatch(rf"\$\{{[A-Z]+_IMAGE:-[a-z/]+:v?\d+\.\d+\.\d+{DIGEST}\}}", image) for image in pulled)
    assert {service["image"] for service in SERVICES.values() if "build" in service} == OURS


def test_images_have_one_base() -> None:
    """All Dockerfiles name the same base by digest, and the environment may replace it in the composition."""
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "deploy").glob("*.Dockerfile")]
    (base,) = {one for text in texts for one in re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE)}
    arguments = [service["build"]["args"] for service in SERVICES.values() if "build" in service]

    assert len(texts) == 4
    assert re.fullmatch(rf"python:3\.11\.\d+-slim-[a-z]+{DIGEST}", base)
    assert all("BASE" in given for given in arguments)


@pytest.mark.parametrize("file", sorted((ROOT / "deploy").glob("*.Dockerfile")), ids=lambda file: file.name)
def test_images_are_as_they_should(file: Path) -> None:
    """Each image that is run runs as an ordinary user, is labelled, and is built on a base that can be pinned."""
    text = file.read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    users = [re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1] for stage in stages if "ENTRYPOINT" in stage]

    assert users == ["10001:10001"] * len(users) != []
    assert 'image.title="isthmus-' in text
    assert set(re.findall(r'image\.version="(.*?)"', text)) <= {VERSION}
    assert {re.split(r"\s", stage)[0] for stage in stages} <= {"${BASE}", "silo"}


def test_replicas_are_two_and_small() -> None:
    """Two replicas, whose settings fit the memory that they are given: uploads, an aggregation, and 150 MiB besides."""
    served = aggregator.config.load_config(ROOT / "deploy" / "compose" / "aggregator.toml", environment={})
    uploads = served.limits.max_uploads * aggregator.config.UPLOAD_WINDOW_BYTES

    assert (SERVICES["aggregator"]["scale"], SERVICES["aggregator"]["mem_limit"]) == (2, "512m")
    assert uploads + served.limits.memory_budget_bytes + (150 << 20) <= 512 << 20


def test_gate_knows_the_replicas_ports() -> None:
    """The gate carries on the ports where replicas answer silos, and asks where they tell metrics."""
    served = aggregator.config.load_config(ROOT / "deploy" / "compose" / "aggregator.toml", environment={})
    assert served.enrolment is not None
    assert served.metrics is not None
    calls, enrolment, metrics = (
        listen.rpartition(":")[2] for listen in (served.listen, served.enrolment.listen, served.metrics.listen)
    )

    assert re.findall(r"server-template replica 1-16 aggregator:(\d+)", GATE) == [calls, enrolment]
    assert re.findall(r"^    bind :(\d+)", GATE, re.MULTILINE) == [calls, enrolment]
    assert set(re.findall(r"check port (\d+)", GATE)) == {metrics}


def test_prometheus_finds_every_replica() -> None:
    """Prometheus asks the engine's name server for the replicas, and has the alerts and the port of the metrics."""
    settings = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text(encoding="utf-8"))

    assert settings["rule_files"] == ["alerts.yml"]
    (job,) = settings["scrape_configs"]
    assert (job["job_name"], job["dns_sd_configs"][0]["names"], job["dns_sd_configs"][0]["port"]) == (
        "isthmus",
        ["aggregator"],
        9464,
    )
    assert members("replicas") == {"aggregator", "gate", "prometheus"}


def test_grafana_shows_the_dashboard() -> None:
    """Grafana is given the dashboard in the folder that its provider reads, and a source named as its Prometheus."""
    folder = ROOT / "deploy" / "compose" / "grafana"
    source, provider = (
        yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in ("datasource.yaml", "dashboards.yaml")
    )
    shown = mounts("grafana")["./deploy/monitoring/dashboard.json"]

    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert Path(shown).parent == Path(provider["providers"][0]["options"]["path"])
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == shown
    assert (
        json.loads((ROOT / "deploy" / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))["uid"] == "isthmus"
    )


def test_volumes_are_declared() -> None:
    """Every named volume that a service mounts is declared, and every declared one is mounted."""
    mounted = {source for service in SERVICES for source in mounts(service) if not source.startswith("./")}

    assert mounted == set(COMPOSE["volumes"])


def test_mounted_files_exist() -> None:
    """Every file that a service mounts is in the tree."""
    files = {source for service in SERVICES for source in mounts(service) if source.startswith("./")}

    assert {file for file in files if not (ROOT / file).is_file()} == set()


def test_settings_meet() -> None:
    """The aggregator listens where the silos and the steps call, and serves the federation that they join."""
    served = aggregator.config.load_config(ROOT / "deploy" / "compose" / "aggregator.toml", environment={})
    silo = silo_agent.config.load_config(
        ROOT / "deploy" / "compose" / "silo.toml", environment={"ISTHMUS_SILO__SILO": "food"}
    )
    port = served.listen.rpartition(":")[2]

    assert silo.aggregator == ADDRESS[1] == SERVICES["isthmus"]["environment"]["ISTHMUS_AGGREGATOR"] == f"{HOST}:{port}"
    assert (silo.federation, silo.silo) == (FEDERATION, "food")
    assert served.tls is not None
    assert f":-{served.store}}}" in SERVICES["aggregator"]["environment"]["ISTHMUS_AGGREGATOR__STORE"]


def test_operators_and_silos_keys_are_apart() -> None:
    """The aggregator sees no operator's credentials, a silo neither those nor the authority's key, the gate nothing."""
    assert "operator" not in mounts("aggregator")
    assert all({"operator", "pki"}.isdisjoint(mounts(topic)) for topic in TOPICS)
    assert mounts("gate") == {}


def test_sizes_of_the_demo_come_from_the_environment() -> None:
    """What the composition may set otherwise arrives in the recipe, and its defaults are the recipe's own."""
    told = SERVICES["prepare"]["environment"]
    defaults = {name: text.partition(":-")[2].rstrip("}") for name, text in told.items()}

    assert recipe_of(defaults) == recipe_of({}) == RECIPE
    for variable in told:
        name = variable.removeprefix("ISTHMUS_DEMO_").lower()
        assert getattr(recipe_of({variable: "7"}), name) == 7


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    """A size that is no number from 1 on is refused by its variable's name."""
    with pytest.raises(ConfigInvalid, match="ISTHMUS_DEMO_ROUNDS"):
        recipe_of({"ISTHMUS_DEMO_ROUNDS": text})


def test_every_fault_has_a_victim_in_the_file() -> None:
    """What `make compose-faults` disturbs are services, each suffers every deed, and the silo that watches nothing."""
    victims = {name.split()[-1] for name in FAULTS}

    assert victims == {"aggregator", "store", "gate", "food"} <= set(SERVICES)
