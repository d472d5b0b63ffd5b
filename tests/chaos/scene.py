"""Where a run takes place: a federation in a fresh store, silos with private pictures, settings of every process.

Two federations are played: one whose deltas are open to the aggregator, and one with secure aggregation.
"""

import json
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aggregator.ledger import Ledger
from aggregator.ledger.documents import Upload
from aggregator.stores import open_store
from isthmus.credentials import load_credentials, save_credentials
from isthmus.federation import parse_federation
from isthmus.spec import ProjectorSpec, TensorSpec
from tests import pki
from tests.chaos.silo import NUM_EXAMPLES
from tests.ledgers import stage
from tests.rosters import payload_bytes, values
from tests.silo_data import write_imagefolder

FEDERATION = "storm"
NUM_REPLICAS = 3

CLIP, BITS = 0.25, 24
"""Of masked deltas, some of whose values lie beyond."""

KEY_SECONDS, VECTOR_SECONDS = 1.0, 2.0
"""How long keys are waited for beyond the quorum, and vectors at all."""

SPEC = ProjectorSpec((TensorSpec("bias", "F32", (512,)), TensorSpec("weight", "F32", (24, 1000))))
"""98 KB: some twenty chunks and seven segments, as `shrunk` makes them."""

PRIVATE_WORDS = ("rebeccapurple", "a caption that nobody may see")
"""The name of each silo's picture and its caption."""

DISK = "disk"
"""The folder in which a local store's folder lies: with the disk away, a replica that starts makes no empty store."""

ABANDONED_PUSH = "f" * 64
"""Names, in each round, a push of the first silo that it gave up; these are its bytes."""

ABANDONED = b"bytes of a push that its silo gave up"


@dataclass(frozen=True, slots=True)
class Play:
    """One of the federations.

    Attributes:
        name: Of the play.
        silos: Who takes part.
        toml: The federation's definition, of so many rounds.
        fresh: Whether a training that is repeated gives something else, as it does on real machines.
    """

    name: str
    silos: tuple[str, ...]
    toml: Callable[[int], str]
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """One run's folder.

    Attributes:
        folder: Holds everything of the run.
        store: The store's URL.
        rounds: Of the federation.
        ports: Of the replicas.
        silos: Who takes part.
    """

    folder: Path
    store: str
    rounds: int
    ports: tuple[int, ...]
    silos: tuple[str, ...]

    @property
    def orders(self) -> Path:
        """Where the orders to fail lie."""
        return self.folder / "orders"

    @property
    def replica_config(self) -> Path:
        """The settings of all replicas."""
        return self.folder / "aggregator.toml"

    def silo(self, name: str) -> Path:
        """The folder of one silo."""
        return self.folder / "silos" / name

    def diary(self, name: str) -> Path:
        """What one silo's agents wrote down."""
        return self.folder / f"{name}.diary"

    def deltas(self, name: str) -> Path:
        """What one silo masked: a file of float32 for each vector, named by the vector's digest."""
        return self.folder / f"{name}.deltas"

    def log(self, name: str) -> Path:
        """The output of all processes of this name."""
        return self.folder / f"{name}.log"

    def ledger(self) -> Ledger:
        """The store as it is now, remembering nothing."""
        return Ledger(open_store(self.store))


def plain(rounds: int) -> str:
    """A federation's TOML: every silo is in every roster, so the result does not depend on who was slow.

    What is abandoned may go after an hour, which a replica whose clock is wrong believes to be over at once.
    """
    return f"""
name = "{FEDERATION}"
rounds = {rounds}
participation = {{ silos = {{ min = 3, max = 3 }}, seconds = {{ max = 3600 }} }}
strategy.rule = {{ name = "mean" }}
strategy.server_optimizer = {{ name = "nesterov", learning_rate = 0.7, momentum = 0.9 }}
plan = {{ learning_rate = {{ initial = 0.001 }} }}
retention = {{ abandoned_uploads_hours = 1 }}
"""


def masked(rounds: int) -> str:
    """A federation's TOML: keys and vectors are waited for so briefly that some rounds go on without whoever died.

    Weights are public and not equal, so that one that went astray changes the mean.
    """
    return f"""
name = "{FEDERATION}"
rounds = {rounds}
encoding = "ring32"
participation = {{ silos = {{ min = 3, max = 4 }}, seconds = {{ max = {KEY_SECONDS} }} }}
admission = {{ max_num_examples = 16 }}
plan = {{ learning_rate = {{ initial = 0.001 }} }}
retention = {{ abandoned_uploads_hours = 1 }}
secure_aggregation = {{ clip = {CLIP}, bits = {BITS}, min_silos = 3, upload_seconds = {VECTOR_SECONDS} }}
"""


PLAIN = Play("plain", tuple(NUM_EXAMPLES)[:3], plain)
MASKED = Play("masked", tuple(NUM_EXAMPLES), masked, fresh=True)


def build(
    folder: Path, *, play: Play, store: str, rounds: int, ports: tuple[int, ...], addresses: Mapping[str, str]
) -> Scene:
    """Creates the federation, enrols the silos and writes all settings.

    Args:
        folder: Is made.
        play: Which federation.
        store: The URL of an empty store; "" puts one into the folder.
        rounds: Of the federation.
        ports: Where the replicas listen.
        addresses: Where each silo finds them.
    """
    folder.mkdir(parents=True)
    (folder / DISK).mkdir()
    scene = Scene(folder, store or str(folder / DISK / "store"), rounds, ports, play.silos)
    ledger, now, toml = scene.ledger(), datetime.now(UTC), play.toml(rounds)
    initial = payload_bytes(values("initial", SPEC.num_elements), SPEC)
    ledger.create_federation(toml, parse_federation(toml), SPEC, projector=initial, now=now)
    for number in range(1, rounds + 1):
        stage(ledger, Upload(FEDERATION, number, play.silos[0], ABANDONED_PUSH), ABANDONED)
    for silo in play.silos:
        _write_silo(scene, silo, address=addresses[silo], fresh=play.fresh)
        credentials = load_credentials(scene.silo(silo) / "silo.pem")
        pki.enrol(ledger, silo, credentials, federation=FEDERATION, now=now)
    scene.replica_config.write_text(
        f'listen = "127.0.0.1:0"\nstore = {json.dumps(scene.store)}\n'
        "advance_interval_seconds = 0.05\npoll_interval_seconds = 0.05\ndrain_seconds = 1.0\n"
        "housekeeping_interval_seconds = 0.5\n" + pki.toml("[limits]\nidle_seconds = 3.0\nslow_seconds = 3.0\n")
    )
    return scene


def _write_silo(scene: Scene, silo: str, *, address: str, fresh: bool) -> None:
    folder, (picture, caption) = scene.silo(silo), PRIVATE_WORDS
    write_imagefolder(folder / "pictures", {picture: caption})
    save_credentials(folder / "silo.pem", pki.silo(silo, federation=FEDERATION, skew_days=9).pem)
    (folder / "silo.toml").write_text(
        f'aggregator = "{address}"\nfederation = "{FEDERATION}"\ncredentials = "silo.pem"\nsilo = "{silo}"\n'
        'state = "state"\n[data]\nfolder = "pictures"\n[compute]\nthreads = 1\n'
        f'[trainer]\nname = "chaos"\nfresh = {json.dumps(fresh)}\n'
    )


def free_ports(dice: random.Random) -> tuple[int, ...]:
    """A port for each replica that nobody listens on, outside the range from which the system gives ports by itself."""
    found: list[int] = []
    while len(found) < NUM_REPLICAS:
        port = dice.randint(20_000, 31_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return tuple(found)
