"""Secure aggregation over real sockets: five silos whose sum is opened, and rounds in which somebody is missed."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from aggregator.ledger import Ledger, keys
from isthmus.client import SiloClient
from isthmus.contribution import Encoding
from isthmus.credentials import load_credentials
from isthmus.errors import AggregatorUntrusted, RoundMoved
from isthmus.round import Round
from isthmus.secure_aggregation.keys import KeyOffer
from isthmus.secure_aggregation.ring import ZERO_WORDS, words_of
from isthmus.signatures import signer
from silo_agent.agent import Ending
from silo_agent.policy import Policy, require_masks
from tests.masked import secure
from tests.masked_sites import CLIP, agent_of, delta_of, side_by_side, upload_only, verified, zeros
from tests.rosters import TINY
from tests.serving import Silo, definition, eventually, refusal


def flat(projector) -> np.ndarray:
    """All values of a projector."""
    return np.concatenate([tensor.numpy().reshape(-1) for tensor in projector.values()])


def test_sum_of_five_is_their_mean_and_no_delta_is_stored(world, tmp_path: Path) -> None:
    """The next projector moves by the mean of the clipped deltas; no stored vector holds one; the store verifies."""
    store, _, _, sites = world(secure(rounds=1))
    current = sites[0].hub.round()
    before = flat(sites[0].hub.pull(current))
    receipts = side_by_side(sites, lambda site: site.contribute(current))
    after = eventually(lambda: sites[0].hub.round().number == 2 and sites[0].hub.manifest(current, 1))
    ledger = Ledger(store)
    blob = ledger.read_blob("harbour", after.digest, start=0, size=after.size_bytes)
    moved = np.frombuffer(blob[-4 * TINY.num_elements :], "<f4") - before
    deltas = [np.clip(delta_of(site.silo, 1).astype(np.float64), -CLIP, CLIP) for site in sites]

    assert [1] * 5 == [receipt.num_examples for receipt in receipts]
    assert np.abs(moved - np.mean(deltas, axis=0)).max() < 2.0**-22
    assert "experimental" in after.remark
    assert "Malicious silos are not defended against" in after.remark
    for site, delta in zip(sites, deltas, strict=True):
        stored = ledger.contribution("harbour", 1, site.silo)
        raw = ledger.payload(stored)(stored.data_start_bytes, 4 * (ZERO_WORDS + len(delta)))
        levels = words_of(raw)[ZERO_WORDS:].view(np.int32).astype(np.float64)
        expected = np.rint(delta / CLIP * (2**24 - 1))
        assert (levels != expected).all()
    assert verified(store, tmp_path) == []


def test_silo_that_drops_ends_the_round_and_the_next_goes_on(world, tmp_path: Path) -> None:
    """A silo whose key is in and whose vector is not: nothing is opened, the others' next round is."""
    store, _, operator, sites = world(secure(rounds=2, upload_seconds=1.5))
    current = sites[0].hub.round()
    gone, *others = sites
    offering = threading.Thread(target=lambda: gone.hub.masked.mask(current, zeros(), num_examples=1, metrics={}))
    offering.start()
    side_by_side(others, lambda site: site.contribute(current))
    offering.join(20)
    manifest = eventually(lambda: sites[1].hub.round().number == 2 and sites[1].hub.manifest(current, 1))
    operator.revoke(gone.silo)
    following = eventually(lambda: (found := others[0].hub.round()).number == 2 and found)
    side_by_side(others, lambda site: site.contribute(following))
    last = eventually(lambda: others[0].hub.round().number == 3 and others[0].hub.manifest(following, 2))

    assert (True, current.base_digest) == (manifest.abandoned, manifest.digest)
    assert "ends without a change" in manifest.remark
    assert "without a" in manifest.remark
    assert [] == list(store.list(keys.seeds("harbour", 1)))
    assert (False, ("b", "c", "d", "e")) == (last.abandoned, last.silos)
    assert manifest.digest != last.digest
    assert verified(store, tmp_path) == []


def test_silo_that_dies_before_its_seed_comes_back(world, tmp_path: Path) -> None:
    """A process that dies between upload and reveal finds its seed on disk; the sum waits for it and opens."""
    store, address, _, sites = world(secure(rounds=1))
    current = sites[0].hub.round()
    dying, *others = sites

    pushing = threading.Thread(target=upload_only, args=(dying, current))
    pushing.start()
    waiting = [threading.Thread(target=site.contribute, args=(current,)) for site in others]
    for thread in waiting:
        thread.start()
    pushing.join(20)
    dying.hub.close()
    eventually(lambda: len(list(store.list(keys.seeds("harbour", 1)))) == 4)
    assert current.number == others[0].hub.round().number
    dying.open(address)
    assert list(dying.hub.rounds()) == []
    for thread in waiting:
        thread.join(20)

    assert not eventually(lambda: others[0].hub.round().number == 2 and others[0].hub.manifest(current, 1)).abandoned
    assert verified(store, tmp_path) == []


def test_agents_mask_and_one_of_them_may_demand_it(world, tmp_path: Path) -> None:
    """Three agents take part in two rounds to the end; one that demands masks joins no federation without them."""
    store, address, operator, sites = world(secure(rounds=2), silos=("a", "b", "c"))
    endings = side_by_side(sites, lambda site: agent_of(site, tmp_path / site.silo).run())

    assert [Ending.FINISHED] * 3 == endings
    assert [False, False] == [Ledger(store).manifest("harbour", number).abandoned for number in (1, 2)]
    assert verified(store, tmp_path) == []

    operator.create(definition("open"))
    (tmp_path / "open.pem").write_text(operator.invite("a", federation="open").pem)
    with SiloClient(address, federation="open", credentials=tmp_path / "open.pem") as hub:
        error = refusal(lambda: require_masks(hub.round(), policy=Policy(secure_aggregation="demanded")))
    assert error.details["check"] == "secure_aggregation"


def test_second_vector_of_a_round_never_leaves(world) -> None:
    """Once a vector was let go its key is forgotten: another delta under the same masks cannot be made."""
    _, _, _, sites = world(secure(), silos=("a", "b", "c"))
    current = sites[0].hub.round()
    side_by_side(sites, lambda site: upload_only(site, current))

    assert isinstance(
        refusal(lambda: sites[0].hub.masked.mask(current, zeros(), num_examples=1, metrics={})), RoundMoved
    )


def test_seed_is_revealed_once_a_projector(world) -> None:
    """A silo that revealed a seed joins no other round from the same projector, also after a restart."""
    _, address, _, sites = world(secure(rounds=2), silos=("a", "b", "c"))
    current = sites[0].hub.round()
    side_by_side(sites, lambda site: site.contribute(current))
    sites[0].hub.close()
    sites[0].open(address)
    again = Round(**{name: getattr(current, name) for name in Round.__dataclass_fields__} | {"number": 2})

    error = refusal(lambda: sites[0].hub.masked.mask(again, zeros(), num_examples=1, metrics={}))
    assert (AggregatorUntrusted, "reveal_once") == (type(error), error.details["check"])


def test_mean_beyond_its_limit_changes_nothing(world, tmp_path: Path) -> None:
    """An opened mean that is too large is not taken; the manifest says so, and the store verifies."""
    toml = secure(rounds=2).replace("clip = 0.5", "clip = 0.5, max_mean_l2_norm = 0.01")
    store, _, _, sites = world(toml, silos=("a", "b", "c"))
    current = sites[0].hub.round()
    side_by_side(sites, lambda site: site.contribute(current))
    manifest = eventually(lambda: sites[0].hub.round().number == 2 and sites[0].hub.manifest(current, 1))
    errors = side_by_side(sites, lambda site: site.contribute(sites[0].hub.round()))

    assert (True, current.base_digest) == (manifest.abandoned, manifest.digest)
    assert "max_mean_l2_norm is 0.01" in manifest.remark
    assert ["reveal_once"] * 3 == [error.details["check"] for error in errors]
    assert verified(store, tmp_path) == []


def test_wrong_calls_are_refused_and_leave_nothing(world) -> None:
    """Offers and seeds that are forged, early, for elsewhere or for another are refused, and nothing of them stays."""
    store, _, _, sites = world(secure(), silos=("a", "b", "c"))
    current = sites[0].hub.round()
    one, other = sites[0].hub.masked, sites[1].hub.masked
    kept = one.folder.begin(1, current.base_digest, num_examples=1)
    own = one.credentials()
    right = KeyOffer("harbour", 1, current.base_digest, current.spec.fingerprint, kept.public_key, 1)

    def offer(masked=one, **fields: object) -> str:
        bare = replace(right, **fields)
        signature = fields.get("signature") or signer(own.signing_key)(bare.statement("a"))
        return refusal(lambda: masked.calls.offer_key(replace(bare, signature=signature))).reason

    assert offer(signature=b"forged") == "SIGNATURE_INVALID"
    assert offer(masked=other) == "SIGNATURE_INVALID"
    assert offer(round=2) == "ROUND_CLOSED"
    assert offer(base_digest=b"x" * 32) == "BASE_STALE"
    assert offer(spec_fingerprint=b"x" * 32) == "REQUEST_INVALID"
    assert offer(public_key=b"short") == "REQUEST_INVALID"
    assert offer(num_examples=2) == "NUM_EXAMPLES_OUT_OF_RANGE"
    assert refusal(lambda: one.calls.reveal_seed(kept, round_number=1, signature=b"")).reason == "REQUEST_INVALID"
    assert [] == [*store.list(keys.key_offers("harbour", 1)), *store.list(keys.seeds("harbour", 1))]

    side_by_side(sites, lambda site: upload_only(site, current))
    eventually(lambda: one.calls.key_roster(current)[1])
    mine, theirs = (masked.folder.kept(1, current.base_digest) for masked in (one, other))
    assert refusal(lambda: one.calls.reveal_seed(mine, round_number=1, signature=b"no")).reason == "SIGNATURE_INVALID"
    assert refusal(lambda: one.calls.reveal_seed(theirs, round_number=1, signature=b"")).reason == "REQUEST_INVALID"
    assert [] == list(store.list(keys.seeds("harbour", 1)))


def test_unmasked_delta_is_refused_before_a_byte(world) -> None:
    """A push in the clear, or masked for no roster, is refused by its header; nothing of it is staged."""
    store, address, _, sites = world(secure(), silos=("a", "b", "c"))
    plain = Silo(address, load_credentials(sites[0].file))
    delta = plain.delta()

    assert "ENCODING" == refusal(lambda: plain.push(delta)).details["check"]
    assert "MASKS" == refusal(lambda: plain.push(delta.but(encoding=Encoding.RING32, num_examples=1))).details["check"]
    assert [] == list(store.list(keys.all_uploads("harbour")))
