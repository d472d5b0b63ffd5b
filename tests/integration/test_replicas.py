"""Several aggregator processes over one store: any RPC at any of them at any time, and no difference to anybody."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import pytest

from aggregator.stores import open_store
from isthmus.chunks import SEGMENT_BYTES
from isthmus.credentials import load_credentials
from isthmus.errors import AggregatorUnreachable, Overloaded, UploadBroken
from isthmus.v1 import admin_pb2
from tests.real_aggregator import real_replicas
from tests.real_stores import bucket_of_its_own
from tests.rosters import TINY
from tests.serving import (
    LARGE,
    MIB,
    Operator,
    Silo,
    chunk_part,
    definition,
    delta_of,
    eventually,
    header_part,
    opening_of,
    parts_of,
    projector_of,
    refusal,
    serving,
)

NUM_REPLICAS = 3


@pytest.fixture(params=["folder", "bucket"])
def replicas(request, tmp_path):
    """Replicas as processes, over a folder and over a real bucket."""
    store = "store" if request.param == "folder" else bucket_of_its_own()
    with real_replicas(tmp_path, NUM_REPLICAS, store=store, settings="drain_seconds = 0.5\n") as replicas:
        yield replicas


class Spread:
    """One silo whose every call goes to a replica drawn by lot."""

    def __init__(self, replicas, credentials, draw):
        self._silos = [Silo(replica.address, credentials) for replica in replicas]
        self._draw = draw

    @property
    def any(self):
        """The silo at one replica."""
        return self._draw.choice(self._silos)

    def contribute(self, name):
        """Uploads a delta in pieces, each at another replica."""
        delta = self.any.delta(TINY, name=name)
        cuts = sorted(self._draw.sample(range(1, len(delta.payload)), 3))
        for start, end in zip([0, *cuts], cuts, strict=False):
            assert start == self.any.push_status(delta).committed_bytes
            part = [header_part(delta), chunk_part(start, delta.payload[start:end])]
            assert isinstance(refusal(lambda part=part: self.any.send(part)), UploadBroken)
        receipt = self.any.push(delta, start=cuts[-1])
        assert receipt == self.any.push(delta)


def federate(silos, operator, *, num_rounds):
    """Every silo contributes to every round; the projectors' digests and silos."""
    for number in range(1, num_rounds + 1):
        for name, silo in silos.items():
            assert number == silo.any.round(after_round=number - 1, wait_seconds=30).round
            silo.contribute(f"{name} in round {number}")
    eventually(lambda: operator.status().summary.round > num_rounds)
    lineage = operator.call("ListProjectors", admin_pb2.ListProjectorsRequest(federation="harbour")).projectors
    return [(manifest.digest, tuple(manifest.silos)) for manifest in lineage]


def test_any_call_may_go_to_any_replica(replicas):
    """Silos whose every call and every piece of an upload goes to another replica get the projectors of one replica."""
    draw = Random(20261122)
    operators = [Operator(replica.address, load_credentials(replica.operator)) for replica in replicas]
    operators[0].create(definition(quorum=3, rounds=3))
    silos = {
        name: Spread(replicas, operator.invite(name), draw)
        for name, operator in zip(("north", "south", "west"), operators, strict=True)
    }
    spread = federate(silos, operators[2], num_rounds=3)

    with serving(open_store("memory:")) as address:
        operator = Operator(address)
        operator.create(definition(quorum=3, rounds=3))
        alone = {name: operator.invite(name) for name in ("north", "south", "west")}
        for number in range(1, 4):
            for name, credentials in alone.items():
                silo = Silo(address, credentials)
                silo.round(after_round=number - 1, wait_seconds=30)
                silo.push(silo.delta(TINY, name=f"{name} in round {number}"))
        eventually(lambda: operator.status().summary.round > 3)
        lineage = operator.call("ListProjectors", admin_pb2.ListProjectorsRequest(federation="harbour")).projectors

    assert [(manifest.digest, tuple(manifest.silos)) for manifest in lineage] == spread
    assert ("north", "south", "west") == spread[3][1]


NUM_UPLOADS = 16
TAIL_BYTES = MIB // 2
"""What each upload sends of its second segment before its replica ends."""


@pytest.mark.parametrize(
    ("ending", "kept_bytes"),
    [(signal.SIGKILL, SEGMENT_BYTES), (signal.SIGTERM, SEGMENT_BYTES + TAIL_BYTES)],
    ids=["killed", "drained"],
)
def test_uploads_under_a_replica_that_ends_finish_at_the_others(replicas, ending, kept_bytes):
    """Each of 16 uploads is counted once, and a kill costs only what was not durable yet, a drain nothing at all."""
    victim, *survivors = replicas
    operator = Operator(survivors[0].address, load_credentials(victim.operator))
    toml = definition(rounds=1).replace("{ min = 2, max = 8 }", f"{{ min = {NUM_UPLOADS}, max = {NUM_UPLOADS} }}")
    operator.create(toml, projector=projector_of(LARGE))
    names = [f"silo-{number:02d}" for number in range(NUM_UPLOADS)]
    uploads = [Upload(replicas, operator.invite(name), number) for number, name in enumerate(names)]
    with ThreadPoolExecutor(NUM_UPLOADS) as pool, ExitStack() as stack:
        stack.callback(lambda: [upload.go_on.set() for upload in uploads])
        receipts = [pool.submit(upload.run) for upload in uploads]
        for upload in uploads:
            eventually(upload.has_a_segment)
        time.sleep(1.0)  # for the tails, which no caller is told of
        victim.process.send_signal(ending)
        victim.process.wait(timeout=30)
        for upload in uploads:
            upload.go_on.set()
        answers = [receipt.result(timeout=60) for receipt in receipts]

    assert names == sorted(receipt.silo for receipt in answers)
    assert {kept_bytes} == {upload.resumed_at for upload in uploads if upload.began_at == victim.address}
    eventually(lambda: operator.status().summary.round == 2)
    assert names == list(operator.status().latest.silos)


class Upload:
    """One silo's upload, which stops after its first segment until it is told to go on."""

    def __init__(self, replicas, credentials, number):
        self._silos = [Silo(replica.address, credentials) for replica in replicas]
        self._silos = self._silos[number % NUM_REPLICAS :] + self._silos[: number % NUM_REPLICAS]
        self._payload = delta_of(LARGE, f"delta {number}")
        self._delta = self._silos[-1].delta(LARGE, payload=self._payload)
        self.began_at = self._silos[0].address
        self.resumed_at = 0
        self.go_on = threading.Event()

    def has_a_segment(self):
        """Whether its first segment is durable."""
        return SEGMENT_BYTES == self._silos[-1].push_status(self._delta).committed_bytes

    def run(self):
        """Pushes; where a replica is gone it asks the next one and goes on there."""
        try:
            return self._silos[0].send(self._halting())
        except (AggregatorUnreachable, Overloaded):
            self.go_on.wait(60)  # until the replica is gone: a draining one stages the tail after the call has ended
            silo = self._silos[1]
            self.resumed_at = silo.push_status(self._delta).committed_bytes
            return eventually(lambda: silo.push(self._delta, start=self.resumed_at), unless=Overloaded)

    def _halting(self):
        yield from opening_of(self._delta, SEGMENT_BYTES + TAIL_BYTES)
        self.go_on.wait(60)
        yield from list(parts_of(self._delta, start=SEGMENT_BYTES + TAIL_BYTES))[1:]
