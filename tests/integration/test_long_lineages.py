"""Lineages that outgrow one message."""

from pathlib import Path

from aggregator.ledger import Ledger
from aggregator.rpc.lineage import PAGE_BYTES, projectors_page
from aggregator.stores import open_store
from isthmus.errors import ProjectorUnknown
from isthmus.manifest import ProjectorManifest
from isthmus.operator_client import OperatorClient
from tests import pki
from tests.ledgers import START
from tests.serving import Operator, refusal, serving

NUM_ROUNDS = 12
SILOS = tuple(f"{number:063d}" for number in range(8000))
"""Of every round: with their names, a manifest has half a MiB, and the lineage more than a message may have."""


def test_lineage_of_any_length_is_listed_page_by_page(tmp_path: Path) -> None:
    """A client gets every manifest once and in order, of which no message holds all."""
    store = open_store("memory:")
    with serving(store) as address:
        Operator(address).create()
        ledger = Ledger(store)
        for number in range(1, NUM_ROUNDS + 1):
            ledger.publish("harbour", ProjectorManifest(number, bytes(32), 9, START, silos=SILOS))
        with OperatorClient(address, credentials=pki.folder() / "operator.pem") as operator:
            lineage = operator.lineage("harbour")

    first = projectors_page(ledger, "harbour", first_number=0, seal=pki.seal())
    error = refusal(lambda: projectors_page(ledger, "harbour", first_number=NUM_ROUNDS + 1, seal=pki.seal()))
    assert list(range(NUM_ROUNDS + 1)) == [manifest.number for manifest in lineage]
    assert SILOS == lineage[-1].silos
    assert (len(first.projectors), True) == (first.next_number, first.ByteSize() <= PAGE_BYTES + 16)
    assert ProjectorUnknown is type(error)
