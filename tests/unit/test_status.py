"""The table between errors and statuses, read in both directions."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from isthmus import errors
from isthmus.status import CODES, LOCAL, MAX_RETRY_SECONDS, code_of, error_of, status_of


def ended_call(code, text, trailers=()):
    """A failed call as a client sees it: a code, a text, trailers."""
    answers = {"code": code, "details": text, "trailing_metadata": trailers, "initial_metadata": ()}
    answers |= dict.fromkeys(("is_active", "time_remaining", "cancel", "add_callback"))
    members = {name: lambda self, *_, answer=answer: answer for name, answer in answers.items()}
    return type("EndedCall", (grpc.RpcError, grpc.Call), members)()


def leaves(error=errors.IsthmusError):
    """Every error of the tree without errors below it, in the tree's order."""
    below = [child for child in error.__subclasses__() if child.__module__.startswith(errors.__name__)]
    return [leaf for child in below for leaf in leaves(child)] if below else [error]


def call_with(status):
    """The failed call that this status ends."""
    return ended_call(status.code, status.details, status.trailing_metadata)


def test_every_error_has_a_row_or_never_travels():
    """Each leaf of the tree has a code, or is named as one that is never sent; none has both."""
    assert set(CODES) | LOCAL == set(leaves())
    assert set() == set(CODES) & LOCAL


def test_reasons_are_unique_and_stable():
    """Reasons are the protocol: renaming one breaks silos in the field."""
    expected = """
        AGGREGATOR_UNREACHABLE AGGREGATOR_UNTRUSTED BASE_STALE CLUSTER_UNAVAILABLE CONFIG_INVALID
        CONTRIBUTION_CONFLICT CREDENTIAL_MISSING DELTA_NORM_EXCEEDED DELTA_NORM_TOO_SMALL DELTA_NOT_FINITE
        DELTA_REPLAYED ENROLMENT_CLOSED FEDERATION_EXISTS FEDERATION_FINISHED FEDERATION_INVALID FEDERATION_PAUSED
        FEDERATION_UNKNOWN FINISH_MISSING HEADER_INVALID IDENTITY_INVALID INCOMPLETE INVARIANT_BROKEN
        INVITATION_INVALID NAME_INVALID NUM_EXAMPLES_OUT_OF_RANGE OFFSET_MISMATCH OFFSET_OUT_OF_RANGE
        OPERATOR_ONLY OVERLOADED PAYLOAD_DIGEST_MISMATCH PAYLOAD_MALFORMED PAYLOAD_TOO_LARGE
        PROJECTOR_UNKNOWN QUOTA_EXCEEDED RATE_LIMITED REQUEST_INVALID ROUND_CLOSED SCRATCH_UNAVAILABLE
        SIGNATURE_INVALID SILO_EXISTS SILO_NOT_ENROLLED SILO_QUARANTINED SILO_UNKNOWN SPEC_MISMATCH
        STORE_FULL STORE_UNAVAILABLE UPLOAD_TOO_SLOW
    """

    assert expected.split() == sorted(leaf.reason for leaf in leaves())


@pytest.mark.parametrize("leaf", sorted(CODES, key=lambda leaf: leaf.reason))
def test_error_survives_the_wire(leaf):
    """What a silo catches is what the aggregator raised: class, text, details and retry delay."""
    sent = leaf("Tensor a is wrong.", tensor="a", limit=2.5)
    if isinstance(sent, errors.ComeBack):
        sent.retry_after_seconds = 2.25

    caught = error_of(call_with(status_of(sent)))

    assert (leaf, "Tensor a is wrong.", {"tensor": "a", "limit": "2.5"}) == (type(caught), str(caught), caught.details)
    assert 2.25 == getattr(caught, "retry_after_seconds", 2.25)
    assert code_of(caught) == status_of(sent).code


@pytest.mark.parametrize("leaf", sorted(LOCAL, key=lambda leaf: leaf.reason))
def test_local_error_has_no_status(leaf):
    """An error that is never sent cannot be sent by accident."""
    with pytest.raises(KeyError):
        status_of(leaf("text"))


def test_long_and_strange_texts_fit_into_trailers():
    """Control characters are escaped and lengths capped, so that the status always arrives and fools no terminal."""
    sent = errors.PayloadMalformed("\x1b[2J" + "\xe9" * 5000, **{f"key{i}": "x" * 5000 for i in range(50)})

    status = status_of(sent)

    assert "\x1b" not in status.details
    assert status.details.isascii()
    assert sum(len(value) for _, value in status.trailing_metadata) + len(status.details) < 6000


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.AggregatorUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.AggregatorUnreachable),
        (grpc.StatusCode.CANCELLED, errors.AggregatorUnreachable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.UNAUTHENTICATED, errors.IdentityInvalid),
        (grpc.StatusCode.UNIMPLEMENTED, errors.InvariantBroken),
        (grpc.StatusCode.INTERNAL, errors.InvariantBroken),
        (grpc.StatusCode.UNKNOWN, errors.InvariantBroken),
    ],
)
def test_status_without_our_info_becomes_the_nearest_error(code, expected):
    """What a proxy, a library or a dead peer answers is still one of our errors."""
    caught = error_of(ended_call(code, "Socket closed"))

    assert type(caught) is expected
    assert "Socket closed" in str(caught)


def test_info_of_another_domain_is_not_ours():
    """A reason counts only under our domain."""
    status = status_pb2.Status(code=3, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="ROUND_CLOSED", domain="elsewhere"))

    assert type(error_of(call_with(rpc_status.to_status(status)))) is errors.InvariantBroken


def test_details_chosen_by_the_other_side_cannot_break_the_client():
    """Keys that happen to be names of arguments are only details."""
    status = status_pb2.Status(code=8, message="busy")
    metadata = {"message": "a", "retry_after_seconds": "b", "self": "c"}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="isthmus.v1", metadata=metadata))

    caught = error_of(call_with(rpc_status.to_status(status)))

    assert (errors.Overloaded, metadata, 1.0) == (type(caught), caught.details, caught.retry_after_seconds)


def test_error_that_is_no_call_is_translated_too():
    """Grpc raises bare RpcErrors in places; they become ours like the rest."""
    assert type(error_of(grpc.RpcError("odd"))) is errors.InvariantBroken


@pytest.mark.parametrize(("asked", "kept"), [(-3600, 0.0), (315_576_000_000, MAX_RETRY_SECONDS)])
def test_delay_chosen_by_the_other_side_can_be_slept(asked, kept):
    """A delay below nothing, or of ten thousand years, raises nothing where it is slept."""
    status = status_pb2.Status(code=14, message="busy")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="STORE_UNAVAILABLE", domain="isthmus.v1"))
    delay = Duration(seconds=asked)
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))

    assert kept == error_of(call_with(rpc_status.to_status(status))).retry_after_seconds
