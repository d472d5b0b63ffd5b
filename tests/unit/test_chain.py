"""The chains of the audit go on whatever was damaged or taken out, and verifying still names it."""

from pathlib import Path

import pytest

from aggregator.advancing import Advancing
from aggregator.ledger import Ledger, acts, audit, keys
from aggregator.ledger.acts import Act
from aggregator.ledger.audit import Trail
from aggregator.metrics.meters import Meters
from aggregator.moving.copying import copy_federation
from aggregator.stores.memory import MemoryStore
from benchmarks.simulate.counting import CountingStore
from isthmus.errors import InvariantBroken, NameInvalid
from tests.ledgers import NAME, after, contribute
from tests.verifying import OPERATOR, objects, of_store, store_with, verdict_of

ACT = Act(after(900), OPERATOR, "silo.revoked", "d")
TRAIL = Trail(NAME, 2, "c")


def refuse(store: MemoryStore) -> bool:
    """One more refusal of silo c in round 2."""
    return audit.append_refusal(store, TRAIL, refusal=NameInvalid("more"), now=after(900))


@pytest.mark.parametrize("kind", ["audit/acts/", "audit/2/c/0"])
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_chain_goes_on_behind_a_damaged_record(kind: str, damage: str) -> None:
    """A record that is missing before the last, or a last one that is damaged, bars no append; verify names it."""
    store = store_with(objects())
    written = of_store(store, kind)
    hurt = written[0] if damage == "missing" else written[-1]
    store.delete(hurt) if damage == "missing" else store.put(hurt, b"no document")

    acts.append(store, NAME, ACT)
    assert refuse(store)

    assert len(written) + 1 - (damage == "missing") == len(of_store(store, kind))
    assert hurt in [link.key for link in verdict_of(store).broken]


def test_ledger_goes_on_behind_what_others_put_on_record() -> None:
    """Acts of two replicas that each remember their last one become one chain without a gap; no more is listed."""
    store = CountingStore(MemoryStore())
    replicas = [Ledger(store), Ledger(store)]
    for number in range(30):
        replicas[number % 3 % 2].record_act(NAME, Act(after(number), OPERATOR, "silo.invited", f"s-{number}"))
    listed = store.counts["list"]
    found = list(acts.acts(store, NAME))

    assert ([f"s-{number}" for number in range(30)], 2) == ([one.act.silo for one in found], listed)
    assert ["", *[one.digest for one in found[:-1]]] == [one.previous for one in found]


def test_number_that_leaves_no_room_ends_an_append() -> None:
    """A record numbered by a stranger at the very end of all numbers is told, and no append tries for ever."""
    store = MemoryStore()
    store.put(f"{keys.acts(NAME)}/{10**18 - 1}.json", b"")
    acts.append(store, NAME, ACT)

    with pytest.raises(InvariantBroken, match="has no place behind"):
        acts.append(store, NAME, Act(after(901), OPERATOR, "silo.revoked", "d"))


def test_damaged_records_stop_no_round(tmp_path: Path) -> None:
    """A federation whose last act, last refusal and oldest roster are damaged goes on publishing, and says so."""
    store = store_with(objects())
    store.delete(keys.finished(NAME))
    for key in [*of_store(store, "audit/acts/")[-1:], *of_store(store, "audit/2/c/")[-1:]]:
        store.put(key, b"no document")
    for key in [*of_store(store, "audit/rounds/"), keys.roster(NAME, 1)]:
        store.delete(key)
    ledger = Ledger(store)
    for silo in "abc":
        contribute(ledger, silo, round_number=3)
    advancing = Advancing(
        ledger,
        clock=lambda: after(1000),
        interval_seconds=1.0,
        memory_budget_bytes=16 << 20,
        scratch=tmp_path,
        on_publish=lambda: None,
        on_store=lambda answers: None,
        meters=Meters(),
    )
    advancing.turn()

    assert ledger.latest_number(NAME) >= 3
    assert "published without a roster" in advancing.trouble(NAME)


class Late(MemoryStore):
    """A store to which something comes right after a listing of the given keys."""

    after, come = "", None

    def list(self, prefix: str):
        """The listing before it came."""
        found = list(super().list(prefix))
        if prefix == self.after and self.come is not None:
            come, self.come = self.come, None
            come()
        return iter(found)


def late(prefix: str, *keys_without: str) -> tuple[Late, dict[str, bytes]]:
    """The federation's store without these keys, and what they held."""
    contents = objects()
    kept = {key: contents[key] for key in contents if key not in keys_without}
    store = Late()
    for key, content in kept.items():
        store.put(key, content)
    store.after = prefix
    held = {key: contents[key] for key in keys_without}
    store.come = lambda: [store.put(key, content) for key, content in held.items()]
    return store, held


def test_act_and_record_that_come_while_verifying_are_no_damage() -> None:
    """A store to which an act and a round's record come after the acts were listed is whole."""
    newest = of_store(store_with(objects()), "audit/acts/")[-1]
    store, _ = late(keys.acts(NAME), newest, keys.round_record(NAME, 2))

    assert () == verdict_of(store).broken


def test_copy_has_all_that_its_round_records_name(tmp_path: Path) -> None:
    """Records of rounds that come while a copy is under way leave neither a hole nor a name of nothing in it."""
    refused = of_store(store_with(objects()), "audit/2/c/")[-1]
    store, _ = late(keys.audits(NAME, 2), refused, keys.round_record(NAME, 1), keys.round_record(NAME, 2))
    copy = MemoryStore()
    copy_federation(store, copy, NAME, scratch=tmp_path)

    assert () == verdict_of(copy).broken
