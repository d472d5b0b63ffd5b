"""docker-compose.yml is the demo in containers, as private as it says, and the settings it mounts are right."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import aggregator.config
import silo_agent.config
from deploy.compose.__main__ import ADDRESS, STEPS
from deploy.demo.pictures import TOPICS
from deploy.demo.recipe import FEDERATION

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STEPS_AND_SERVICE = {*STEPS, "aggregator"}


def mounts(service: str) -> dict[str, str]:
    """Where a service sees which volume or file: target by source."""
    return {source: target for source, target, *_ in (volume.split(":") for volume in SERVICES[service]["volumes"])}


def test_every_topic_has_its_silo() -> None:
    """The silos are the demo's topics; the other services are the aggregator and the steps around it."""
    assert set(SERVICES) - STEPS_AND_SERVICE == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_silo_sees_its_own_volume_alone(topic: str) -> None:
    """A silo mounts the volume of its own data and no other silo's, and its name comes from the composition."""
    silos = [source for source in mounts(topic) if source.startswith("silo-")]

    assert silos == [f"silo-{topic}"]
    assert SERVICES[topic]["environment"] == {"ISTHMUS_SILO__SILO": topic}


def test_only_preparing_sees_the_internet() -> None:
    """Every service but the one that fetches lives on a network that leads nowhere."""
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert {name for name, service in SERVICES.items() if service["networks"] != ["inside"]} == {"prepare"}


@pytest.mark.parametrize("service", SERVICES)
def test_containers_have_few_rights(service: str) -> None:
    """Every container's root is read-only and it has no capabilities."""
    assert SERVICES[service]["read_only"] is True
    assert SERVICES[service]["cap_drop"] == ["ALL"]


def test_images_run_as_an_ordinary_user() -> None:
    """The last user of every image that is run is not root."""
    for file in (ROOT / "deploy").glob("*.Dockerfile"):
        stages = re.split(r"^FROM ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

        assert all(
            re.findall(r"^USER (\S+)", s, re.MULTILINE)[-1] == "10001:10001" for s in stages if "ENTRYPOINT" in s
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

    assert silo.aggregator == ADDRESS[1] == f"aggregator:{port}"
    assert (silo.federation, silo.silo) == (FEDERATION, "food")
    assert served.tls is not None


def test_operators_and_silos_keys_are_apart() -> None:
    """The aggregator sees no operator's credentials, a silo neither those nor the authority's key."""
    assert "operator" not in mounts("aggregator")
    assert all({"operator", "pki"}.isdisjoint(mounts(topic)) for topic in TOPICS)
