"""The scenes of the cut: replicas that advance and pushes of silos meet on one bucket, and what must hold.

Everything that an actor does here is the service's own code: `advance`, `commit_contribution`, `counted`, staging. The
projector has few values and each payload one segment; nothing else is smaller than in a bucket in production.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from aggregator.advance import Outcome, Published, counted
from aggregator.ledger import Ledger
from aggregator.ledger.documents import Contribution
from aggregator.stores import Store
from aggregator.stores.memory import MemoryStore
from isthmus.contribution import Receipt
from isthmus.errors import RoundClosed
from tests.ledgers import after, contribute, definition, found, held_out, stage, staged, step
from tests.model.bucket import contents_of
from tests.model.claims import Claims, Refused
from tests.model.scene import Scene, Work

View = Callable[[Store], Store]
"""What an actor takes for the store."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part in a scene.

    Attributes:
        replicas: How many replicas advance.
        silos: Who pushes.
        pushes_each: How often each silo pushes the same delta, at once, as when a stream broke and was begun anew.
        clocks_apart: Whether the replicas' clocks differ, by hours.
        staging: Whether pushes stage their bytes in the scene, or did so before.
        recording: Whether pushes put what they commit on record; replicas do it in place of those that died before.
        most: Contributions after which a round is cut though its time is not up; what the marker says depends on it.
        max_staleness: Above 0 the federation is in buffered mode (`most` must be 1), and has one round more for each.
    """

    replicas: int
    silos: str
    pushes_each: int = 1
    clocks_apart: bool = False
    staging: bool = False
    recording: bool = True
    most: int = 8
    max_staleness: int = 0

    def __str__(self) -> str:
        """The cast in words."""
        words = [f"{self.replicas} replicas" if self.replicas != 1 else "1 replica"]
        words.append(f"{len(self.silos)} silos" if len(self.silos) != 1 else "1 silo")
        extras = {
            "each pushes twice": self.pushes_each > 1,
            "clocks apart": self.clocks_apart,
            "staging": self.staging,
            "replicas record": not self.recording,
            "cut at the first": self.most == 1,
            f"buffered with staleness {self.max_staleness}": self.max_staleness > 0,
        }
        return ", ".join([" x ".join(words), *(name for name, is_so in extras.items() if is_so)])


def the_same(store: Store) -> Store:
    """The store as it is."""
    return store


def cut_scene(cast: Cast, scratch: Path, *, replica_sees: View = the_same, push_sees: View = the_same) -> Scene:
    """Replicas that find a round due at every moment, and silos that push what they trained from projector 0."""
    store, claims = MemoryStore(), Claims(scratch)
    ledger = Ledger(store)
    buffered = f"max_staleness = {cast.max_staleness}"
    toml = definition(quorum=1, rounds=1 + cast.max_staleness, most=cast.most, participation=buffered)
    found(ledger, toml, silos=tuple(cast.silos))
    contributions = {silo: _of_one_segment(staged(ledger, silo), store) for silo in cast.silos}
    payloads = {silo: store.get(one.segments[0].key) for silo, one in contributions.items()}
    for one in contributions.values() if cast.staging else ():
        store.delete(one.segments[0].key)
    actors: dict[str, Work] = {}
    together = replica(replica_sees, scratch, late_hours=0)
    survives = together if replica_sees is the_same else replica(the_same, scratch, late_hours=0)
    for number in range(cast.replicas):
        apart = replica(replica_sees, scratch, late_hours=number)
        actors[f"replica {number + 1}"] = apart if cast.clocks_apart else together
    for silo, contribution in contributions.items():
        for time in range(cast.pushes_each):
            later = replace(contribution, admitted_at=after(1 + time))
            stages = payloads[silo] if cast.staging else b""
            actors[f"push {silo}" + " again" * time] = push(later, push_sees, stages=stages, records=cast.recording)
    return Scene(
        contents=contents_of(store),
        actors=actors,
        survivor=survives,
        wrong_with_bucket=claims.wrong_with_bucket,
        wrong_with_ending=claims.wrong_with_ending,
    )


def gated_scene(scratch: Path) -> Scene:
    """Two replicas find round 2 due while silo b pushes. By a's report alone the gate decides nothing.

    With b's it flags. So which projector is published depends on the roster that wins, and on nothing else.
    """
    store, claims = MemoryStore(), Claims(scratch)
    ledger = Ledger(store)
    gate = "\nevaluation.gate = { tolerance = 0.1, min_silos = 2 }\n"
    found(ledger, definition(quorum=1, rounds=2) + gate, silos=("a", "b"))
    for silo in "ab":
        ledger.record_admission(contribute(ledger, silo, metrics=held_out(2.0)))
    step(ledger, scratch, now=after(999))
    late = _of_one_segment(staged(ledger, "b", round_number=2, metrics=held_out(3.0)), store)
    ledger.record_admission(contribute(ledger, "a", round_number=2, metrics=held_out(3.0)))
    advances = replica(the_same, scratch, late_hours=1)
    return Scene(
        contents=contents_of(store),
        actors={
            "replica 1": advances,
            "replica 2": advances,
            "push b": push(late, the_same, stages=b"", records=True),
        },
        survivor=advances,
        wrong_with_bucket=claims.wrong_with_bucket,
        wrong_with_ending=claims.wrong_with_ending,
    )


def _of_one_segment(contribution: Contribution, store: Store) -> Contribution:
    """The same contribution, its bytes staged in one go."""
    payload = b"".join(store.get(segment.key) for segment in contribution.segments)
    for segment in contribution.segments:
        store.delete(segment.key)
    return replace(contribution, segments=(stage(Ledger(store), contribution.upload, payload),))


def replica(sees: View, scratch: Path, *, late_hours: int) -> Work:
    """Advances as long as it publishes, as `aggregator.advancing` does."""
    now = after(999 + 3600 * late_hours)

    def work(store: Store) -> tuple[Outcome, ...]:
        ledger = Ledger(sees(store))
        outcomes = [step(ledger, scratch, now=now)]
        while isinstance(outcomes[-1], Published):
            outcomes.append(step(ledger, scratch, now=now))
        return tuple(outcomes)

    return work


def push(contribution: Contribution, sees: View, *, stages: bytes, records: bool) -> Work:
    """Stages, commits, puts on record and answers, as `aggregator.rpc.pushes` does."""

    def work(store: Store) -> Receipt | Refused:
        ledger = Ledger(sees(store))
        if stages:
            stage(ledger, contribution.upload, stages)
        standing = ledger.commit_contribution(contribution)
        if records:
            ledger.record_admission(standing)
        try:
            return counted(ledger, standing)
        except RoundClosed:
            return Refused(contribution.silo, contribution.header.round)

    return work


SHORT = (
    Cast(replicas=2, silos="ab", most=1),
    Cast(replicas=2, silos="a", pushes_each=2, clocks_apart=True),
    Cast(replicas=1, silos="ab", staging=True),
    Cast(replicas=1, silos="ab", most=1, max_staleness=1),
)
"""What the default suite explores."""

LONG = (
    *SHORT,
    Cast(replicas=2, silos="ab", clocks_apart=True),
    Cast(replicas=2, silos="ab", pushes_each=2, most=1),
    Cast(replicas=2, silos="ab", staging=True, most=1),
    Cast(replicas=2, silos="ab", most=1, max_staleness=1),
    Cast(replicas=3, silos="ab", most=1),
    Cast(replicas=2, silos="abc", most=1, recording=False),
    Cast(replicas=3, silos="abc", most=1, recording=False),
)
"""What `make model` explores."""
