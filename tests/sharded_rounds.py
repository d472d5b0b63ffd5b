"""A federation whose rounds have several parts, over a local store; published in one process, or by a cluster."""

from pathlib import Path

from aggregator.advance import Published, advance
from aggregator.ledger import Ledger
from aggregator.publication import Combine, in_process
from aggregator.stores import Store
from isthmus.manifest import ProjectorManifest
from isthmus.spec import ProjectorSpec, TensorSpec
from tests.ledgers import NAME, after, found, staged

SPEC = ProjectorSpec(
    (
        TensorSpec("a.bias", "F32", (7,)),
        TensorSpec("b.weight", "F32", (130, 257)),
        TensorSpec("c.scale", "F32", ()),
        TensorSpec("d.weight", "F32", (16, 1024)),
    )
)
"""Some 50,000 values; most tensors' edges lie on no round number."""

BUDGET_BYTES = 1 << 20
"""So small that SPEC has several parts, of several blocks each."""

SILOS = ("a", "b", "c", "d", "e")


def definition(rule: str, optimizer: str, *, rounds: int = 2, silos: int = len(SILOS)) -> str:
    """A federation with this strategy that cuts a round once all silos are in."""
    return f"""
name = "{NAME}"
rounds = {rounds}
participation = {{ silos = {{ min = {silos}, max = {silos} }} }}
strategy.rule = {{ name = "{rule}" }}
strategy.server_optimizer = {{ name = "{optimizer}" }}
plan = {{ learning_rate = {{ initial = 0.001 }} }}
admission = {{ max_l2_norm = 1e6 }}
"""


def found_sharded(store: Store, rule: str, optimizer: str) -> Ledger:
    """The federation, open for its first round."""
    ledger = Ledger(store)
    found(ledger, definition(rule, optimizer), silos=SILOS, spec=SPEC)
    return ledger


def contribute_all(ledger: Ledger, number: int) -> None:
    """Every silo's delta of a round; the same bytes in every store."""
    for silo in SILOS:
        ledger.commit_contribution(staged(ledger, silo, round_number=number, segment_bytes=50_000))


def published(ledger: Ledger, scratch: Path, *, combine: Combine = in_process) -> ProjectorManifest:
    """The open round's projector."""
    outcome = advance(ledger, NAME, now=after(5), memory_budget_bytes=BUDGET_BYTES, scratch=scratch, combine=combine)
    assert isinstance(outcome, Published), outcome
    return outcome.manifest


def blobs_of(ledger: Ledger, manifest: ProjectorManifest) -> list[bytes]:
    """The bytes that a manifest names: the projector's and the state's."""
    sizes = {manifest.digest: manifest.size_bytes, manifest.optimizer_state_digest: manifest.optimizer_state_size_bytes}
    return [ledger.read_blob(NAME, digest, start=0, size=size) for digest, size in sizes.items() if digest]


def expected(store: Store, scratch: Path, *strategy: str) -> list[tuple[ProjectorManifest, list[bytes]]]:
    """What two rounds publish that are combined in one process."""
    ledger, rounds = found_sharded(store, *strategy), []
    for number in (1, 2):
        contribute_all(ledger, number)
        manifest = published(ledger, scratch)
        rounds.append((manifest, blobs_of(ledger, manifest)))
    return rounds
