"""The renderings in deploy/k8s/rendered, and what a cluster would make of their config maps and volumes."""

import re
from functools import cache
from pathlib import Path

import aggregator.config
import silo_agent.config
from deploy.manifests.objects import Name, Object, pods, read
from deploy.manifests.renderings import FOLDER, RENDERINGS

MONITORS = [name for name in RENDERINGS if name.endswith("pod-monitor")]
"""What is applied beside an aggregator, and has no pods."""

AGGREGATORS = [name for name, one in RENDERINGS.items() if one.namespace == "isthmus" and name not in MONITORS]
PRODUCTION = [name for name in AGGREGATORS if name != "local"]
SILOS = [name for name in RENDERINGS if name not in (*AGGREGATORS, *MONITORS)]
EVERY = [*AGGREGATORS, *SILOS]

MADE_ELSEWHERE = {
    "Secret": {
        "isthmus-server-tls",
        "isthmus-authorities",
        "isthmus-signing-key",
        "isthmus-authority",
        "isthmus-silo-invitation",
    },
    "PersistentVolumeClaim": {"isthmus-silo-data", "isthmus-silo-models"},
}
"""What the manifests name and do not make: keys, a site's invitation, its pictures and models."""

_UNITS = {"": 1, "m": 1e-3, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


@cache
def text(rendering: str) -> str:
    """A rendering as it is committed."""
    return (FOLDER / f"{rendering}.yaml").read_text(encoding="utf-8")


@cache
def objects(rendering: str) -> dict[Name, Object]:
    """Its objects; not to be changed."""
    return read(text(rendering))


def pod(rendering: str) -> Object:
    """The one pod's spec in it."""
    ((_, found),) = pods(objects(rendering))
    return found


def container(rendering: str) -> Object:
    """That pod's one container."""
    (found,) = pod(rendering)["containers"]
    return found


def owner(rendering: str) -> Object:
    """What makes that pod."""
    ((name, _),) = pods(objects(rendering))
    return objects(rendering)[name]


def bytes_of(quantity: str) -> float:
    """A Kubernetes quantity as a number."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert match, quantity
    return float(match[1]) * _UNITS[match[2]]


def variables(rendering: str) -> dict[str, str]:
    """The environment that the manifest gives the container."""
    found = objects(rendering)
    own = {one["name"]: one["value"] for one in container(rendering).get("env", ())}
    sets = [one["configMapRef"]["name"] for one in container(rendering).get("envFrom", ())]
    return {key: value for name in sets for key, value in found[Name("ConfigMap", name)]["data"].items()} | own


def mounted(rendering: str) -> dict[str, Object]:
    """The pod's volumes by the path at which the container sees them."""
    volumes = {volume["name"]: volume for volume in pod(rendering)["volumes"]}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container(rendering)["volumeMounts"]}


def settings_text(rendering: str) -> str:
    """The TOML that `--config` names, as the container reads it."""
    path = Path(container(rendering)["args"][-1])
    volume = mounted(rendering)[str(path.parent)]
    return objects(rendering)[Name("ConfigMap", volume["configMap"]["name"])]["data"][path.name]


def aggregator_settings(rendering: str, folder: Path) -> aggregator.config.AggregatorConfig:
    """The settings with which the manifest's aggregator would start."""
    file = folder / "aggregator.toml"
    file.write_text(settings_text(rendering), encoding="utf-8")
    return aggregator.config.load_config(file, environment=variables(rendering))


def silo_settings(rendering: str, folder: Path) -> silo_agent.config.SiloConfig:
    """The settings with which the manifest's silo would start."""
    file = folder / "silo.toml"
    file.write_text(settings_text(rendering), encoding="utf-8")
    return silo_agent.config.load_config(file, environment=variables(rendering))


def port_of(listen: str) -> int:
    """The port of host:port."""
    return int(listen.rpartition(":")[2])
