"""Runs the federation: one aggregator and one agent per silo, each a process of its own, over gRPC on loopback.

Everything goes the way an operator and a silo would go: the same commands, files and configurations.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.demo.processes import Children
from deploy.demo.recipe import FEATURES, FEDERATION, Recipe
from isthmus.cli.pull import export_to
from isthmus.manifest import ProjectorManifest
from isthmus.operator_client import OperatorClient
from silo_agent.status_file import Phase

OPERATOR = Path("pki") / "operator.pem"
"""The operator's credentials, within the demo's folder."""

LOOK_SECONDS = 0.2
"""How often the silos' status files are read."""

Status = Mapping[str, Any]
"""A silo's status file (`silo_agent.status_file`); any: JSON."""

Watch = Callable[[Mapping[str, Status]], None]
"""Told every silo's status, by name."""


@dataclass(frozen=True, slots=True)
class Models:
    """Which frozen models every silo holds.

    Attributes:
        encoder_weights: File of the vision encoder.
        llm: Folder of the language model.
    """

    encoder_weights: Path
    llm: Path

    @property
    def llm_width(self) -> int:
        """Width of the language model's embeddings."""
        return int(json.loads((self.llm / "config.json").read_text(encoding="utf-8"))["hidden_size"])


@dataclass(frozen=True, slots=True)
class Federated:
    """What a federation left behind.

    Attributes:
        lineage: Manifests of all global projectors, the initial one first.
        projectors: Their files, in the same order.
        statuses: The silos' last status, by name.
        seconds: From the start of the aggregator to the end of the last silo.
    """

    lineage: tuple[ProjectorManifest, ...]
    projectors: tuple[Path, ...]
    statuses: dict[str, Status]
    seconds: float


def federate(
    folder: Path,
    silos: Mapping[str, Path],
    *,
    models: Models,
    recipe: Recipe,
    children: Children,
    watch: Watch,
) -> Federated:
    """Runs a federation from its creation to its last round.

    Args:
        folder: Of everything that is written: configurations, credentials, the store, projectors.
        silos: The data folder of each silo, by name.
        models: What every silo holds.
        recipe: What the federation does.
        children: Where the processes are started.
        watch: Told how the silos are, several times a second.

    Raises:
        ChildFailed: A process ended before its work was done.
        IsthmusError: What the aggregator answered to the operator.
    """
    started = time.monotonic()
    address = _start_aggregator(folder, children)
    toml = recipe.federation_toml(num_silos=len(silos), widths=(FEATURES, models.llm_width))
    (folder / "federation.toml").write_text(toml, encoding="utf-8")
    operator = ["--aggregator", address, "--credentials", str(folder / OPERATOR)]
    children.run("create", ["isthmus", "create", str(folder / "federation.toml"), *operator])
    for silo, data in silos.items():
        home = folder / "silos" / silo
        home.mkdir(parents=True, exist_ok=True)
        invitation = home / "invitation"
        invite = ["isthmus", "silo", "invite", silo, "--out", str(invitation), "--federation", FEDERATION]
        children.run(f"invite-{silo}", [*invite, *operator])
        enrol = ["isthmus", "silo", "enrol", "--token-file", str(invitation), "--out", str(home / "silo.pem")]
        children.run(f"enrol-{silo}", enrol)
        config = _silo_toml(silo, address, data=data, models=models, held_out=recipe.silo_held_out)
        (home / "silo.toml").write_text(config, encoding="utf-8")
        children.start(f"silo-{silo}", ["silo_agent", "run", "--config", str(home / "silo.toml")])
    _wait_for_silos(folder, list(silos), children=children, watch=watch)
    seconds = time.monotonic() - started
    lineage, projectors = _export(folder, address)
    children.stop("aggregator")
    return Federated(lineage, projectors, {silo: status_of(folder, silo) for silo in silos}, seconds)


def status_of(folder: Path, silo: str) -> Status:
    """What the silo's agent says of itself; only its phase before it has said anything."""
    try:
        status: Status = json.loads((folder / "silos" / silo / "state" / "status.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        return {"phase": "starting"}
    return status


def feature_cache(folder: Path, silo: str) -> Path:
    """Where the silo's agent keeps the features of its pictures."""
    return folder / "silos" / silo / "state" / "cache"


def _start_aggregator(folder: Path, children: Children) -> str:
    children.run("authority", ["isthmus", "ca", "init", "--out", str(folder / "pki"), "--host", "127.0.0.1"])
    config = folder / "aggregator.toml"
    config.write_text(
        'listen = "127.0.0.1:8443"  # the demo passes --port 0: whichever is free\n'
        'store = "store"\n'
        "advance_interval_seconds = 0.2\n"
        "poll_interval_seconds = 0.2\n"
        'trust_domain = "isthmus"\n'
        'client_authorities = "pki/authority.pem"\n'
        'signing_key = "pki/signing-key.pem"\n'
        '[tls]\ncertificate = "pki/server.pem"\nkey = "pki/server-key.pem"\nauthority = "pki/authority.pem"\n'
        '[enrolment]\nlisten = "127.0.0.1:0"\ncertificate = "pki/authority.pem"\nkey = "pki/authority-key.pem"\n',
        encoding="utf-8",
    )
    children.start("aggregator", ["aggregator", "serve", "--config", str(config), "--port", "0"])
    return children.read_line("aggregator").split()[1]  # ready: ADDRESS enrolment: ADDRESS


def _silo_toml(silo: str, address: str, *, data: Path, models: Models, held_out: float) -> str:
    # JSON's strings are TOML's basic strings: paths with quotes or backslashes stay whole.
    return f"""aggregator = "{address}"
federation = "{FEDERATION}"
credentials = "silo.pem"
silo = "{silo}"
state = "state"

[data]
format = "imagefolder"
folder = {json.dumps(str(data))}
held_out = {held_out}

[trainer]
name = "composed"
encoder = "efficientnet-lite0"
encoder_weights = {json.dumps(str(models.encoder_weights))}
llm = {json.dumps(str(models.llm))}

[compute]
threads = 1
"""


def _wait_for_silos(folder: Path, silos: list[str], *, children: Children, watch: Watch) -> None:
    left = set(silos)
    while left := {silo for silo in left if not is_done(folder, silo, children=children)}:
        if children.has_ended("aggregator"):  # also with code 0: it serves until the demo ends it
            raise children.mourn("aggregator")
        watch({silo: status_of(folder, silo) for silo in silos})
        time.sleep(LOOK_SECONDS)
    watch({silo: status_of(folder, silo) for silo in silos})


def is_done(folder: Path, silo: str, *, children: Children) -> bool:
    """Whether the silo took part to the end; an agent that was stopped from outside ends with code 0, too."""
    name = f"silo-{silo}"
    if not children.has_ended(name):
        return False
    if status_of(folder, silo)["phase"] != Phase.FINISHED.value:
        raise children.mourn(name)
    return True


def _export(folder: Path, address: str) -> tuple[tuple[ProjectorManifest, ...], tuple[Path, ...]]:
    exported = folder / "projectors"
    exported.mkdir()
    with OperatorClient(address, credentials=folder / OPERATOR) as client:
        lineage = tuple(client.lineage(FEDERATION))
        files = tuple(exported / f"{manifest.number}.safetensors" for manifest in lineage)
        for manifest, file in zip(lineage, files, strict=True):
            export_to(file, client, federation=FEDERATION, number=manifest.number)
    return lineage, files
