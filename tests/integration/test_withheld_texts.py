"""What a silo writes where words may stand is answered, and never kept: neither in the store nor in a log."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial

import grpc
import pytest

from aggregator.auditing.story import story
from aggregator.ledger import Ledger
from aggregator.stores.local import LocalStore
from isthmus.channel import CHANNEL_OPTIONS
from isthmus.credentials import Credentials
from isthmus.errors import IsthmusError
from isthmus.v1 import aggregator_pb2, enrolment_pb2, enrolment_pb2_grpc, projector_pb2
from isthmus.wire import header_to_proto
from tests import pki
from tests.hostile.battery import certificates as bad
from tests.hostile.battery.site import Site
from tests.hostile.battery.site import site as running
from tests.hostile.forged import DATA, A, B, payload_of
from tests.serving import FINISH, Delta, Operator, Silo, chunk_part, connected, parts_of, refusal

MARK = "janedoe1971"
PATH = f"/data/patients/{MARK} x-ray.png"
PLAIN = f"patients.{MARK}.png"
"""A text that is a metric's name by its letters."""

NORTH = f"spiffe://{pki.TRUST_DOMAIN}/federation/private/silo/north"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real aggregator process, with a federation whose rounds wait for more silos than there are."""
    with running(tmp_path_factory.mktemp("withheld")) as made:
        made.federation("private")
        yield made


@pytest.fixture(scope="module")
def silo(site: Site) -> Silo:
    """A silo whose software says too much."""
    return site.silo("north", federation="private")


Call = Callable[[], object]
Line = Callable[[Credentials | None], grpc.Channel]


@dataclass(frozen=True)
class Push:
    """A push that says too much.

    Attributes:
        payload: Its bytes.
        fields: Header fields that differ from an honest silo's.
    """

    payload: bytes = payload_of({"a": A, "b": B}, DATA)
    fields: dict[str, object] | None = None


def heads(*entries: object) -> list[Push]:
    """Pushes whose safetensors headers are these."""
    return [Push(payload_of(entry, DATA)) for entry in entries]  # type: ignore[arg-type]


DIGEST = PATH.encode().ljust(32)[:32]
TEXTS = f'{{"a":{{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}},"{PATH}":1,"{PATH}":2}}'
PUSHES = [
    *(
        Push(fields={"metrics": {name: value}})
        for name in (PATH, PATH.replace(" ", ""), PLAIN.upper())
        for value in (1.0,)
    ),
    *(Push(fields={"metrics": {PLAIN: value}}) for value in (float("nan"), float("inf"))),
    Push(fields={"metrics": {f"{PLAIN}{number}": 1.0 for number in range(65)}}),
    Push(fields={"base_digest": DIGEST}),
    Push(fields={"spec_fingerprint": DIGEST}),
    Push(fields={"payload_digest": DIGEST}),
    Push(fields={"payload_digest": PATH.encode()}),
    Push(fields={"nonce": PATH.encode()}),
    Push(fields={"signature": PATH.encode()}),
    *heads(
        {"a": A, "b": B, MARK: {**B, "data_offsets": [36, 48]}},
        {"a": A, PATH: B},
        {"a": A, "b": B, f"{MARK}\u00e9": B},
        {"a": A, "b": B, f"../{MARK}": B},
        {"a": A, "b": B, f"{MARK}\ud800": B},
        {"a": A, "b": B, "__metadata__": {"source": PATH}},
        {"a": A, "b": {**B, "dtype": PATH}},
        {"a": A, "b": {**B, "dtype": MARK}},
        {"a": A, "b": {**B, "dtype": [PATH]}},
        {"a": A, "b": {**B, "shape": PATH}},
        {"a": A, "b": {**B, "shape": [PATH]}},
        {"a": A, "b": {**B, "shape": {"of": PATH}}},
        {"a": A, "b": {**B, "data_offsets": [24, PATH]}},
        {"a": A, "b": {**B, "data_offsets": PATH}},
        {"a": A, "b": {**B, PATH: 1}},
        {"a": A, "b": PATH},
        {"a": A, MARK: {**B, "shape": [0]}},
        {"a": A, MARK: {**B, "shape": [], "data_offsets": [1]}},
        {"a": A, MARK: 1},
        TEXTS,
        PATH,
        f"{{{PATH}",
        f'{{"a": {PATH}}}',
        f'{{"a": "\\x{MARK}"}}',
        f'{{"a": 1}} {PATH}',
        f'{{"a": "{PATH}\xff"}}'.encode("latin-1"),
    ),
]
"""Every place of a push where a silo can write words."""


def bent(silo: Silo, push: Push) -> Delta:
    """The push, announced and signed as it stands."""
    announced = {"payload_digest": hashlib.sha256(push.payload).digest(), "payload_size_bytes": len(push.payload)}
    honest = silo.delta(payload=payload_of({"a": A, "b": B}, DATA))
    return replace(honest, payload=push.payload).but(**{**announced, **(push.fields or {})})


def twice(silo: Silo) -> None:
    """A push whose header names a metric twice."""
    header = header_to_proto(bent(silo, Push()).header)
    header.metrics.extend([projector_pb2.Metric(name=PATH, value=1.0)] * 2)
    silo.send([aggregator_pb2.PushDeltaRequest(header=header), FINISH])


def broken_in_its_head(silo: Silo) -> None:
    """A push that breaks off in the middle of what its header says."""
    delta = bent(silo, Push(payload_of({"a": A, PATH: B}, DATA)))
    first, *_ = parts_of(delta)
    silo.send([first, chunk_part(0, delta.payload[: delta.payload.index(MARK.encode()) + len(MARK) + 3])])


def ended_in_its_head(silo: Silo) -> None:
    """The same, with a finish."""
    delta = bent(silo, Push(payload_of({"a": A, f"{PATH}2": B}, DATA)))
    first, *_ = parts_of(delta)
    silo.send([first, chunk_part(0, delta.payload[: delta.payload.index(MARK.encode()) + len(MARK) + 3]), FINISH])


def elsewhere(line: Line, silo: Silo) -> list[Call]:
    """Calls for a federation that is none."""
    other = talking(line, silo.credentials, federation=PATH)
    header = header_to_proto(replace(bent(silo, Push()).header, federation=PATH))
    return [
        other.round,
        lambda: other.pull(number=0),
        lambda: other.push_status(bent(silo, Push())),
        lambda: other.send([aggregator_pb2.PushDeltaRequest(header=header), FINISH]),
    ]


def as_an_operator(line: Line, silo: Silo) -> list[Call]:
    """What operators call, by a silo's certificate."""
    caller = Operator(silo.address, silo.credentials)
    caller.connect(line(silo.credentials))
    return [
        lambda: caller.create(PATH),
        lambda: caller.invitation(PATH, federation=PATH),
        lambda: caller.revoke(PATH, federation=PATH),
        lambda: caller.set_state(2, federation=PATH, reason=PATH),
    ]


def under_other_names(line: Line, silo: Silo) -> list[Call]:
    """Calls with certificates whose names nobody knows; our authority vouches for most of them."""
    assert silo.credentials is not None
    whose: Credentials = silo.credentials

    def named(*uris: str, **fields: object) -> Call:
        shown = bad.made([bad.uri(one) for one in uris], like=whose, **fields)  # type: ignore[arg-type]
        return talking(line, shown).round

    ours = f"spiffe://{pki.TRUST_DOMAIN}/{MARK}"
    caller = Operator(silo.address, whose)
    caller.connect(line(bad.made([bad.uri(ours)], like=whose)))
    return [
        named(f"https://{MARK}/identity"),
        named(ours),
        named(f"spiffe://{pki.TRUST_DOMAIN}/UPPER/{MARK}"),
        named(f"spiffe://{MARK}.example/silo"),
        named(NORTH, common_name=PATH),
        named(NORTH, f"{NORTH}-{MARK}"),
        named(ours, start=-2 * bad.DAY, end=-bad.DAY),
        named(ours, authority=bad.stranger()),
        caller.status,
    ]


def enrolling(line: Line, site: Site) -> list[Call]:
    """Enrolments that say too much."""
    stub = enrolment_pb2_grpc.EnrolmentServiceStub(line(None))
    secret = site.operator.invitation("south", federation="private").secret
    right = {"federation": "private", "secret": secret, "signing_key": bytes(32)}
    changes: list[dict[str, object]] = [
        {"federation": PATH},
        {"secret": PATH.encode()},
        {"signing_key": PATH.encode()},
        {"signing_request_der": PATH.encode()},
        {"signing_key_proof": PATH.encode()},
    ]
    return [partial(stub.Enrol, enrolment_pb2.EnrolRequest(**{**right, **change})) for change in changes]  # type: ignore[arg-type]


def strange_software(site: Site, silo: Silo, opened: ExitStack) -> list[Call]:
    """A client that tells its name and more, and calls what is not there."""
    assert silo.credentials is not None
    made = silo.credentials
    trust = grpc.ssl_channel_credentials(made.authorities_pem.encode(), made.key.pem.encode(), made.chain_pem.encode())
    options = [*CHANNEL_OPTIONS, ("grpc.primary_user_agent", PATH)]
    channel = opened.enter_context(grpc.secure_channel(silo.address, trust, options=options))
    caller = talking(lambda _: channel, made)
    caller.metadata = (("x-software", PATH),)
    unknown = channel.unary_unary(f"/isthmus.v1.AggregatorService/{MARK}")
    garbled = channel.unary_unary("/isthmus.v1.AggregatorService/GetRound")
    return [caller.round, partial(unknown, b""), partial(garbled, PATH.encode())]


def talking(line: Line, credentials: Credentials | None, *, federation: str = "private") -> Silo:
    """A silo over such a line."""
    made = Silo("127.0.0.1:1", credentials, federation=federation)
    made.channel.close()
    made.connect(line(credentials))
    return made


def kept(site: Site) -> list[str]:
    """Where the mark stands: objects of the store by key, lines of the log; as text, as hex digits or in a name."""
    shapes = (MARK.encode(), MARK.upper().encode(), MARK.encode().hex().encode(), b"janedoe")
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    found = [str(path) for path in files if MARK in str(path) or any(one in path.read_bytes() for one in shapes)]
    log = (site.aggregator.folder / "aggregator.log").read_bytes().splitlines()
    return found + [line.decode() for line in log if any(shape in line for shape in shapes)]


def test_what_a_silo_writes_is_answered_and_not_kept(site: Site, silo: Silo) -> None:
    """Wherever a silo can write words, the answer may tell them; the store and the log hold none of them."""
    answers = [refusal(partial(silo.push, bent(silo, push))) for push in PUSHES]
    answers += [refusal(partial(call, silo)) for call in (twice, broken_in_its_head, ended_in_its_head)]
    with ExitStack() as opened:

        def line(credentials: Credentials | None) -> grpc.Channel:
            return opened.enter_context(connected(site.address, credentials))

        refused = (*elsewhere(line, silo), *as_an_operator(line, silo), *under_other_names(line, silo))
        answers += [refusal(call) for call in refused]
        for call in (*enrolling(line, site), *strange_software(site, silo, opened)):
            with suppress(grpc.RpcError, IsthmusError):
                call()

    assert sum(MARK in f"{error} {error.details}" for error in answers) > 20
    assert [] == kept(site)


def test_record_tells_what_it_may(site: Site, silo: Silo) -> None:
    """A record names the check, the limit and tensors of the spec, and of other words how many letters they have."""
    site.federation("recorded")
    told = site.silo("south", federation="recorded")
    for entry in ({"a": A, "b": {**B, "dtype": PATH}}, {"a": A, "b": B, MARK: B}):
        refusal(partial(told.push, bent(told, Push(payload_of(entry, DATA)))))

    ledger = Ledger(LocalStore(site.folder))
    first, second = [entry.details for entry in story(ledger, "recorded") if entry.event == "delta.refused"]
    digest = hashlib.sha256(PATH.encode()).hexdigest()[:8]
    foreign = f"({len(PATH)} characters, SHA-256 {digest})"
    assert {"check": "SCHEMA_DTYPE", "tensor": "b", "measured": foreign, "limit": "F32"} == first["details"]
    assert foreign in str(first["message"])
    assert f"({len(MARK)} characters, SHA-256 " in str(second["details"])


def test_status_of_an_operator_names_no_word_of_a_silo(site: Site, silo: Silo) -> None:
    """What an operator is told of the last refusal is what is on record."""
    refusal(lambda: silo.push(bent(silo, Push(fields={"metrics": {PATH: 1.0}}))))

    told = {one.silo: one.last_refusal for one in site.operator.status("private").silos}
    assert "METRICS" not in told["north"]
    assert MARK not in told["north"]
    assert "metrics must be names of" in told["north"]
