"""Battery F over the wire: callers who take more than their share, against a real aggregator over mutual TLS."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from aggregator.config import UPLOAD_WINDOW_BYTES
from isthmus import errors
from isthmus.v1 import aggregator_pb2
from tests.hostile.battery.crowd import member_context, open_idle
from tests.hostile.battery.site import SETTINGS, Site
from tests.hostile.battery.site import site as running
from tests.hostile.forged import DATA, A, B, payload_of
from tests.serving import LARGE, MIB, Silo, chunk_part, connected, delta_of, header_part, projector_of, refusal

PUSH = "/isthmus.v1.AggregatorService/PushDelta"
GET_ROUND = "/isthmus.v1.AggregatorService/GetRound"
PAYLOAD = payload_of({"a": A, "b": B}, DATA)
NUM_IDLE = 500


@pytest.fixture(scope="module")
def honest(site: Site) -> Silo:
    """A silo that only wants its answer."""
    site.federation("resources")
    return site.silo("honest", federation="resources")


def code_of(call: grpc.UnaryUnaryMultiCallable, request: object, **options: object) -> grpc.StatusCode:
    """The status that a raw call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10, **options)
    return caught.value.code()


def p99_milliseconds(silo: Silo, *, num_calls: int = 100) -> float:
    """The 99th percentile of a unary call's time."""
    taken = []
    for _ in range(num_calls):
        begin = time.monotonic()
        silo.round()
        taken.append(1000 * (time.monotonic() - begin))
    return sorted(taken)[math.ceil(0.99 * num_calls) - 1]


def test_f01_message_over_the_cap(honest: Silo) -> None:
    """F01: one message of 5 MiB ends in RESOURCE_EXHAUSTED, before any handler sees it."""
    call = honest.channel.stream_unary(PUSH)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED is code_of(call, iter([b"\x12" * (5 << 20)]))
    assert 1 == honest.round().round


def test_f02_metadata_over_the_limit(honest: Silo) -> None:
    """F02: 64 KiB of metadata are refused by the transport."""
    metadata = tuple((f"x-{number}", "y" * 8000) for number in range(8))

    assert grpc.StatusCode.RESOURCE_EXHAUSTED is code_of(honest.channel.unary_unary(GET_ROUND), b"", metadata=metadata)
    assert 1 == honest.round().round


@pytest.mark.parametrize("size_bytes", [len(PAYLOAD) + (256 << 10) + 1, 2**63], ids=["F03-over the cap", "F03-2^63"])
def test_announced_size_is_judged_before_a_byte(site: Site, honest: Silo, size_bytes: int) -> None:
    """Who announces more than the spec and a header's cap is refused at once, and nothing is allocated."""
    before = site.footprint()[0]
    delta = honest.delta(payload=PAYLOAD).but(payload_size_bytes=size_bytes)

    assert errors.PayloadTooLarge is type(refusal(lambda: honest.push(delta)))
    assert site.footprint()[0] < before + (32 << 20)


def test_f04_endless_stream(honest: Silo) -> None:
    """F04: a small size announced and an endless stream behind it ends at the first byte too many."""
    delta = honest.delta(payload=PAYLOAD)

    def parts() -> Iterator[aggregator_pb2.PushDeltaRequest]:
        yield header_part(delta)
        yield chunk_part(0, delta.payload[:60])
        for _ in range(1_000_000):
            yield chunk_part(60, bytes(1 << 20))

    assert isinstance(refusal(lambda: honest.send(parts())), errors.RefusedDelta | errors.UploadBroken)


def test_slow_silos_are_cut_off(tmp_path: Path) -> None:
    """F05, F06, F18: a trickle, and a stream that sends nothing, end as UPLOAD_TOO_SLOW, whatever deadline they set."""
    with running(tmp_path, settings=f"{SETTINGS}slow_seconds = 1.5\n") as site:
        site.federation("slow", projector=projector_of(LARGE))
        silo = site.silo("loris", federation="slow")
        delta = silo.delta(LARGE)

        def trickle() -> Iterator[aggregator_pb2.PushDeltaRequest]:
            yield header_part(delta)
            for at in range(1000):
                yield chunk_part(at, delta.payload[at : at + 1])
                time.sleep(0.05)

        def nothing() -> Iterator[aggregator_pb2.PushDeltaRequest]:
            yield header_part(delta)
            time.sleep(20)

        for parts in (trickle, nothing):
            begin = time.monotonic()
            assert errors.UploadTooSlow is type(refusal(lambda parts=parts: silo.send(parts(), timeout=None)))
            assert time.monotonic() - begin < 15


def test_f07_idle_connections(site: Site, honest: Silo, tmp_path: Path) -> None:
    """F07: 500 idle connections over mutual TLS cost little, and honest silos are answered as before."""
    assert honest.credentials is not None
    context, before = member_context(tmp_path, honest.credentials), site.footprint()
    with ExitStack() as stack:
        for _ in range(NUM_IDLE):
            stack.enter_context(open_idle(site.address, context))
        during, p99 = site.footprint(), p99_milliseconds(honest)
    site.require_back_to(before)

    assert during[1] - before[1] >= NUM_IDLE
    assert (during[0] - before[0]) / NUM_IDLE < (1 << 20)
    assert p99 < 1000  # benchmarks measure it; this only tells that nobody is kept out


def test_f08_more_streams_than_a_connection_takes(site: Site, honest: Silo) -> None:
    """F08: the 65th stream of one connection waits in the transport; other connections are not touched."""
    assert honest.credentials is not None
    crowd = Silo(site.address, honest.credentials, federation="resources")
    request = aggregator_pb2.GetRoundRequest(federation="resources", after_round=1)
    request.wait.FromSeconds(20)
    polls = [crowd.stub.GetRound.future(request, timeout=20) for _ in range(64)]
    time.sleep(0.5)

    with pytest.raises(grpc.RpcError) as caught:
        crowd.stub.GetRound(aggregator_pb2.GetRoundRequest(federation="resources"), timeout=1)
    assert grpc.StatusCode.DEADLINE_EXCEEDED is caught.value.code()
    assert 1 == honest.round().round
    for poll in polls:
        poll.cancel()
    crowd.channel.close()


def test_f09_third_upload_of_one_silo(site: Site) -> None:
    """F09: a silo's third upload at once is told to come back, with a delay; another silo's first is taken."""
    site.federation("three", projector=projector_of(LARGE))
    silo, other = site.silo("greedy", federation="three"), site.silo("modest", federation="three")
    deltas = [silo.delta(LARGE, name=str(number)) for number in range(3)]
    calls = [silo.start([header_part(delta), chunk_part(0, delta.payload[:100])]) for delta in deltas[:2]]
    time.sleep(0.5)

    error = refusal(lambda: silo.push(deltas[2]))
    assert (errors.Overloaded, True) == (type(error), error.retry_after_seconds > 0)
    assert other.push(other.delta(LARGE)).silo == "modest"
    for call in calls:
        call.cancel()


def test_f10_uploads_an_hour(tmp_path: Path) -> None:
    """F10: the upload over the hour's limit is refused with the time to wait, and those before keep their receipts."""
    with running(tmp_path, settings="[limits]\nmax_uploads_per_hour = 2\n") as site:
        site.federation("hourly")
        silo = site.silo("eager", federation="hourly")
        for number in range(2):
            refusal(lambda number=number: silo.push(silo.delta(payload=bytes(100 + number))))

        error = refusal(lambda: silo.push(silo.delta(payload=PAYLOAD)))
        assert (errors.RateLimited, True) == (type(error), error.retry_after_seconds > 60)


def test_f11_fast_senders_cost_bounded_memory(site: Site) -> None:
    """F11: eight uploads at full speed hold no more than their windows."""
    site.federation("fast", projector=projector_of(LARGE))
    silos = [site.silo(f"fast-{number}", federation="fast") for number in range(8)]
    deltas = [silo.delta(LARGE, payload=delta_of(LARGE, f"fast-{number}")) for number, silo in enumerate(silos)]
    before = site.footprint()[0]
    with ThreadPoolExecutor(len(silos)) as pool:
        pushed = list(pool.map(lambda pair: pair[0].push(pair[1]), zip(silos, deltas, strict=True)))

    assert 8 == len({receipt.silo for receipt in pushed})
    assert site.footprint()[0] - before < 8 * UPLOAD_WINDOW_BYTES + 48 * MIB


def test_f12_rapid_reset(site: Site, honest: Silo) -> None:
    """F12: thousands of calls opened and cancelled at once keep nobody out, and leave nothing behind."""
    assert honest.credentials is not None
    before = site.footprint()
    with connected(site.address, honest.credentials) as channel:
        call = channel.unary_unary(GET_ROUND)
        for _ in range(5_000):
            call.future(b"", timeout=10).cancel()
        p99 = p99_milliseconds(honest, num_calls=50)
    site.require_back_to(before)

    assert p99 < 1000


def test_f13_pings(site: Site, honest: Silo) -> None:
    """F13: who pings every second is sent away; who pings as the SDK does is not; nobody else notices."""
    assert honest.credentials is not None
    trust = grpc.ssl_channel_credentials(
        honest.credentials.authorities_pem.encode(),
        honest.credentials.key.pem.encode(),
        honest.credentials.chain_pem.encode(),
    )
    options = (
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    with grpc.secure_channel(site.address, trust, options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=10)
        time.sleep(6)
    assert 1 == honest.round().round


def test_f14_compressed_message_over_the_cap(honest: Silo) -> None:
    """F14: a message that unfolds to more than the cap is refused though it travels small."""
    call = honest.channel.stream_unary(PUSH)
    code = code_of(call, iter([bytes(8 << 20)]), compression=grpc.Compression.Gzip)

    assert grpc.StatusCode.RESOURCE_EXHAUSTED is code
    assert 1 == honest.round().round
