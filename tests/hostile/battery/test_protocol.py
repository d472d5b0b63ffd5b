"""Battery C over the wire: pushes in a wrong order, broken off, taken over, repeated.

The protocol has no upload ids and no separate commit: a push is named by who pushes which bytes to which round, and
`finish` commits it. Cases about upload ids and idempotency keys are mapped to what an attacker can do with that.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from isthmus import errors
from isthmus.chunks import MAX_CHUNK_BYTES
from isthmus.status import error_of
from isthmus.v1 import aggregator_pb2
from tests.hostile.battery.pushing import DURABLE, counts, spike, staged
from tests.hostile.battery.site import Site
from tests.serving import FINISH, Delta, Operator, Silo, chunk_part, eventually, header_part, parts_of, refusal

Parts = Iterator[aggregator_pb2.PushDeltaRequest]


@pytest.mark.parametrize(
    "how", ["C01-client killed", "C02-client cancels", "C03-deadline passes", "C04-channel closed"]
)
def test_stream_that_ends_is_no_commit(site: Site, silo: Silo, how: str) -> None:
    """However a stream ends without finish, even with all bytes sent, nothing is counted and all can be resumed."""
    delta = silo.delta(payload=spike(1.0))
    other = Silo(silo.address, silo.credentials, federation=silo.federation)
    all_sent = threading.Event()

    def parts() -> Parts:
        yield header_part(delta)
        yield chunk_part(0, delta.payload)
        all_sent.set()
        threading.Event().wait(30)

    timeout = 1.5 if how.startswith("C03") else 30
    call = other.stub.PushDelta.future(parts(), timeout=timeout)
    assert all_sent.wait(10)
    time.sleep(0.2)
    if how.startswith("C02"):
        call.cancel()
    elif not how.startswith("C03"):
        other.channel.close()
    assert eventually(lambda: silo.push_status(delta).committed_bytes == len(delta.payload))
    assert not [name for name in site.written(silo.federation) if name.startswith("rounds/")]
    counts(site, silo, delta)


def test_c06_half_close_without_finish(site: Site, silo: Silo) -> None:
    """C06: all bytes sent and the stream closed, without finish: FINISH_MISSING, what arrived is kept."""
    delta = silo.delta(payload=spike(1.0))

    assert len(delta.payload) == staged(silo, delta, num_bytes=len(delta.payload))
    counts(site, silo, delta)


ORDER_CASES: dict[str, tuple[Callable[[Delta], list[aggregator_pb2.PushDeltaRequest]], type[errors.IsthmusError]]] = {
    "C07-offset behind": (lambda d: [header_part(d), chunk_part(10, d.payload[10:20])], errors.OffsetMismatch),
    "C08-gap": (lambda d: [header_part(d), chunk_part(150, d.payload[150:])], errors.OffsetMismatch),
    "C09-bytes changed on the way (no frame CRC here: the digest of the whole finds it)": (
        lambda d: [header_part(d), chunk_part(DURABLE, b"\x01" + d.payload[DURABLE + 1 :]), FINISH],
        errors.PayloadDigestMismatch,
    ),
    "C10-chunk twice": (
        lambda d: [
            header_part(d),
            chunk_part(DURABLE, d.payload[DURABLE:140]),
            chunk_part(DURABLE, d.payload[DURABLE:140]),
        ],
        errors.OffsetMismatch,
    ),
    "C12-finish too early": (lambda d: [header_part(d), FINISH], errors.Incomplete),
    "C13-more bytes than announced": (
        lambda d: [header_part(d), chunk_part(DURABLE, d.payload[DURABLE:] + b"x"), FINISH],
        errors.OffsetMismatch,
    ),
    "C14-first part is no header": (lambda d: [chunk_part(0, d.payload)], errors.FederationUnknown),
    "C15-second header in mid-stream": (lambda d: [header_part(d), header_part(d)], errors.HeaderInvalid),
    "C19-empty chunk": (lambda d: [header_part(d), chunk_part(DURABLE, b"")], errors.OffsetMismatch),
    "C19-chunk over the limit": (
        lambda d: [header_part(d), chunk_part(DURABLE, bytes(MAX_CHUNK_BYTES + 1))],
        errors.OffsetMismatch,
    ),
    "C19-part without a content": (
        lambda d: [header_part(d), aggregator_pb2.PushDeltaRequest()],
        errors.HeaderInvalid,
    ),
    "C21-finish before all bytes": (
        lambda d: [header_part(d), chunk_part(DURABLE, d.payload[DURABLE:140]), FINISH],
        errors.Incomplete,
    ),
    "C28-encoding of the future": (lambda d: [header_part(d.but(encoding="fp16"))], errors.HeaderInvalid),
}


@pytest.mark.parametrize("name", ORDER_CASES)
def test_wrong_order_is_refused(site: Site, silo: Silo, name: str) -> None:
    """Each is told as what it is, never commits anything, and the honest push goes on to its one receipt."""
    build, expected = ORDER_CASES[name]
    delta = silo.delta(payload=spike(1.0))
    before = staged(silo, delta)

    error = refusal(lambda: silo.send(build(delta)))

    assert isinstance(error, expected | errors.RefusedDelta if name.startswith(("C13", "C19")) else expected), error
    assert not [written for written in site.written(silo.federation) if name.startswith("rounds/") and written]
    assert silo.push_status(delta).committed_bytes >= before or isinstance(error, errors.RefusedDelta)
    counts(site, silo, delta)


def test_c11_part_after_finish_changes_nothing(site: Site, silo: Silo) -> None:
    """C11: finish ends a push: what a stream sends behind it is not read, and the receipt is that of the payload."""
    delta = silo.delta(payload=spike(1.0))

    receipt = silo.send([*parts_of(delta), chunk_part(0, b"more"), FINISH])

    assert receipt.payload_digest == delta.header.payload_digest


@pytest.mark.parametrize(
    "name", ["C16-push that nobody began", "C17-push of another silo", "C18-push of a round long over"]
)
def test_status_of_what_is_not_ones_own_shows_nothing(site: Site, silo: Silo, name: str) -> None:
    """A push is named by the caller's own identity, so another's, or none, is the same to ask for: 0 bytes."""
    delta = silo.delta(payload=spike(1.0))
    staged(silo, delta)
    other = site.silo("other", federation=silo.federation)
    asked = {"C16": delta.but(payload_digest=bytes(32)), "C17": delta, "C18": delta.but(round=7)}[name[:3]]

    assert 0 == other.push_status(asked).committed_bytes
    assert not other.push_status(asked).HasField("receipt")


def test_c19_ten_thousand_empty_chunks(site: Site, silo: Silo) -> None:
    """C19: the first empty chunk ends the stream; ten thousand of them cost nothing."""
    delta = silo.delta(payload=spike(1.0))

    refusal(lambda: silo.send([header_part(delta), *[chunk_part(0, b"")] * 10_000]))

    counts(site, silo, delta)


def test_c20_two_streams_of_one_push(site: Site, silo: Silo) -> None:
    """C20: the newer stream of a push takes it over; the older one ends, and one contribution comes of it."""
    delta = silo.delta(payload=spike(1.0))
    older = silo.start([header_part(delta), chunk_part(0, delta.payload[:60])])
    newer = Silo(silo.address, silo.credentials, federation=silo.federation)
    time.sleep(0.3)
    taken_over = refusal(lambda: newer.push(delta))
    counts(site, newer, delta)
    assert errors.OffsetMismatch is type(taken_over)  # the older one's bytes were durable by then: it resumes

    assert older.exception(timeout=10) is not None


@pytest.mark.parametrize("name", ["C22-finish twice", "C24-push begun twice", "C26-bytes that are counted already"])
def test_identical_push_gets_the_identical_receipt(site: Site, silo: Silo, name: str) -> None:
    """Whatever is repeated of the very same push, the receipt is the same, byte for byte."""
    delta = silo.delta(payload=spike(1.0))
    if name.startswith("C24"):
        staged(silo, delta)
    first = silo.push(delta, start=silo.push_status(delta).committed_bytes)
    again = silo.send([header_part(delta)]) if name.startswith("C26") else silo.push(delta)

    assert first == again
    assert 1 == len([written for written in site.written(silo.federation) if "/contributions/" in written])


@pytest.mark.parametrize(
    "name", ["C25-same push with other claims", "D09-second, different delta", "D15-old nonce again"]
)
def test_first_contribution_stands(site: Site, silo: Silo, name: str) -> None:
    """Another delta of the same silo in the same round conflicts, whatever it reuses; the first one stands."""
    delta = silo.delta(payload=spike(1.0))
    receipt = silo.push(delta)
    other = silo.delta(payload=spike(2.0))
    hostile = {
        "C25": delta.but(num_examples=999),
        "D09": other,
        "D15": other.but(nonce=delta.header.nonce),
    }[name[:3]]

    if name.startswith("C25"):  # the bytes are counted already: their receipt says with which claims
        assert receipt == silo.push(hostile)
    else:
        assert errors.ContributionConflict is type(refusal(lambda: silo.push(hostile)))
    assert receipt == silo.push(delta)


def test_c29_garbage_protobuf(silo: Silo) -> None:
    """C29: bytes that are no protobuf get a typed INVALID_ARGUMENT, not the library's UNKNOWN."""
    call = silo.channel.stream_unary("/isthmus.v1.AggregatorService/PushDelta")
    with pytest.raises(grpc.RpcError) as caught:
        call(iter([b"\xff\xff\xff"]), timeout=10)

    assert errors.RequestInvalid is type(error_of(caught.value))


def test_c30_unknown_method(silo: Silo) -> None:
    """C30: a method of another version is UNIMPLEMENTED."""
    with pytest.raises(grpc.RpcError) as caught:
        silo.channel.unary_unary("/isthmus.v1.AggregatorService/PushWeights")(b"", timeout=10)

    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()


def test_c31_pull_beyond_the_end(silo: Silo) -> None:
    """C31: an offset beyond the projector is OUT_OF_RANGE and names the size; a negative one cannot be said."""
    error = refusal(lambda: silo.pull(number=0, offset_bytes=10_000))

    assert errors.OffsetOutOfRange is type(error)
    with pytest.raises(ValueError, match="out of range"):
        aggregator_pb2.PullProjectorRequest(offset_bytes=-1)


def test_c05_c23_c27_replica_ends_in_mid_stream(site: Site) -> None:
    """C05, C27: a replica drained or killed in mid-stream: the next one goes on. C23: there is one receipt."""
    site.federation("ending")
    silo = site.silo("mallory", federation="ending")
    for number in (signal.SIGTERM, signal.SIGKILL):
        delta = silo.delta(payload=spike(float(number)))
        call = silo.start([header_part(delta), chunk_part(0, delta.payload[:60])])
        time.sleep(0.3)
        assert site.aggregator.process is not None
        site.aggregator.process.send_signal(number)
        site.aggregator.process.wait(timeout=30)
        assert site.aggregator.process.stdout is not None
        site.aggregator.process.stdout.close()
        assert call.exception(timeout=10) is not None
        site.aggregator.start(port=int(site.address.rpartition(":")[2]))
        site.operator = Operator(site.address)
        silo = Silo(site.address, silo.credentials, federation="ending")
        committed = eventually(lambda silo=silo, delta=delta: silo.push_status(delta), unless=errors.IsthmusError)
        assert committed.committed_bytes in ((60,) if number is signal.SIGTERM else (0, 60))
    first = silo.push(delta, start=silo.push_status(delta).committed_bytes)
    assert first == silo.push(delta)
