"""Calls that nobody's client would make: no input of a caller may look like the aggregator's own failure."""

import grpc
import pytest
from google.protobuf import message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.stores import open_store
from isthmus.v1 import admin_pb2, aggregator_pb2, enrolment_pb2
from tests import pki
from tests.serving import Operator, connected, serving

OURS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What only a failure of the aggregator's own may answer."""

SERVICES = [
    aggregator_pb2.DESCRIPTOR.services_by_name["AggregatorService"],
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    enrolment_pb2.DESCRIPTOR.services_by_name["EnrolmentService"],
]
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}

NUMBERS = st.sampled_from([0, 1, 2, 7, 2**31 - 1, 2**53, 2**63 - 1])
TEXTS = st.one_of(st.sampled_from(["harbour", "", "..", "a/b", "x" * 300, "\x00", "\u202e"]), st.text(max_size=20))
DATA = st.one_of(st.sampled_from([b"", b"\x00" * 32, b"\xff" * 31]), st.binary(max_size=64))


@pytest.fixture(scope="module")
def callers():
    """Connections of a silo, an operator and a newcomer to a replica with one federation."""
    with serving(open_store("memory:"), limits={"max_waiting_polls": 0}) as address:
        operator = Operator(address)
        operator.create()
        callers = [operator.invite("south"), pki.operator(), None]
        yield [connected(address, credentials) for credentials in callers]


def messages(descriptor, depth=3):
    """Messages of this type with any of their fields set to odd values."""
    fields = st.lists(st.sampled_from(list(descriptor.fields)), max_size=4) if descriptor.fields else st.just([])
    return fields.flatmap(
        lambda chosen: st.tuples(*(st.tuples(st.just(field), values(field, depth)) for field in chosen))
    ).map(lambda pairs: built(descriptor, pairs))


def values(field, depth):
    """Odd values for a field."""
    if field.message_type is not None:
        return messages(field.message_type, depth - 1) if depth else st.none()
    if field.cpp_type == field.CPPTYPE_STRING:
        return DATA if field.type == field.TYPE_BYTES else TEXTS
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return st.floats()
    return st.booleans() if field.cpp_type == field.CPPTYPE_BOOL else NUMBERS


def built(descriptor, pairs):
    """The message with these fields; values that the field cannot hold are left out."""
    message = message_factory.GetMessageClass(descriptor)()
    for field, value in pairs:
        try:
            if field.is_repeated:
                getattr(message, field.name).append(value)
            elif field.message_type is not None and value is not None:
                getattr(message, field.name).CopyFrom(value)
            elif value is not None:
                setattr(message, field.name, value)
        except (TypeError, ValueError, AttributeError):
            continue
    return message


def answer(channel, path, requests):
    """The status code that a call of these raw requests ends with."""
    method = METHODS[path]
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    try:
        result = getattr(channel, kind)(path)(iter(requests) if method.client_streaming else requests[0], timeout=10)
        if method.server_streaming:
            list(result)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("path", METHODS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_message_looks_like_our_failure(callers, path, data):
    """Right types with odd values, from silos and operators: refused or answered, never INTERNAL or UNKNOWN."""
    requests = data.draw(st.lists(messages(METHODS[path].input_type), min_size=1, max_size=3))
    channel = data.draw(st.sampled_from(callers))

    assert answer(channel, path, [request.SerializeToString() for request in requests]) not in OURS


@pytest.mark.parametrize("path", METHODS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(st.binary(max_size=40), min_size=1, max_size=3))
def test_no_bytes_look_like_our_failure(callers, path, requests):
    """Bytes that are no message are the caller's mistake."""
    assert answer(callers[0], path, requests) not in OURS


def test_message_over_the_cap_is_refused(callers):
    """One message of 5 MiB ends in RESOURCE_EXHAUSTED, and the replica goes on."""
    path = "/isthmus.v1.AggregatorService/PushDelta"

    assert answer(callers[0], path, [b"\x12" * (5 << 20)]) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answer(callers[0], path, [b""]) is grpc.StatusCode.NOT_FOUND


def test_unknown_method_is_unimplemented(callers):
    """A method of another version is told as such."""
    with pytest.raises(grpc.RpcError) as caught:
        callers[0].unary_unary("/isthmus.v1.AggregatorService/PushWeights")(b"", timeout=10)

    assert grpc.StatusCode.UNIMPLEMENTED is caught.value.code()
