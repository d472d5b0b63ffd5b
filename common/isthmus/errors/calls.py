"""What can be wrong with any call, with whoever makes it, or with what it meets."""

from isthmus.errors.root import IsthmusError


class AlreadyThere(IsthmusError):
    """Something else of that name stands, and stays."""


class ContributionConflict(AlreadyThere):
    """This silo already contributed other bytes to this round; the first stands."""

    reason = "CONTRIBUTION_CONFLICT"


class DeltaReplayed(AlreadyThere):
    """These very bytes were contributed before, to another round or by another silo."""

    reason = "DELTA_REPLAYED"


class FederationExists(AlreadyThere):
    """A federation of that name exists with another content; choose another name."""

    reason = "FEDERATION_EXISTS"


class SiloExists(AlreadyThere):
    """The silo is enrolled already; invite it again with replace to void its old credential."""

    reason = "SILO_EXISTS"


class NotAllowed(IsthmusError):
    """The caller may not do this; the operator can change that."""


class CredentialMissing(NotAllowed):
    """The call came without a client certificate."""

    reason = "CREDENTIAL_MISSING"


class IdentityInvalid(NotAllowed):
    """The call's certificate does not name exactly one SPIFFE URI of the right form; details["check"] says how."""

    reason = "IDENTITY_INVALID"


class InvitationInvalid(NotAllowed):
    """There is no such invitation, or it has expired, or it was used with other keys."""

    reason = "INVITATION_INVALID"


class SiloNotEnrolled(NotAllowed):
    """The silo was revoked, or invited anew."""

    reason = "SILO_NOT_ENROLLED"


class SiloQuarantined(NotAllowed):
    """Too many of the silo's payloads were refused; its pushes wait until the operator releases it."""

    reason = "SILO_QUARANTINED"


class OperatorOnly(NotAllowed):
    """Only the operator's credential may call this."""

    reason = "OPERATOR_ONLY"


class NotThere(IsthmusError):
    """What the call names does not exist, or not for this caller."""


class FederationUnknown(NotThere):
    """No such federation for this caller."""

    reason = "FEDERATION_UNKNOWN"


class ProjectorUnknown(NotThere):
    """The global projector asked for was not published (yet)."""

    reason = "PROJECTOR_UNKNOWN"


class SiloUnknown(NotThere):
    """No silo of that name is enrolled."""

    reason = "SILO_UNKNOWN"


class NotNow(IsthmusError):
    """The operator stopped the federation, or has not set up what the call asks for."""


class FederationPaused(NotNow):
    """The federation is paused; the same call works once the operator resumes it."""

    reason = "FEDERATION_PAUSED"


class FederationFinished(NotNow):
    """The federation is finished; nothing more is admitted."""

    reason = "FEDERATION_FINISHED"


class EnrolmentClosed(NotNow):
    """This aggregator issues no certificates; bring one of an authority that it trusts."""

    reason = "ENROLMENT_CLOSED"


class BadRequest(IsthmusError):
    """The request is wrong whatever the state; correct it."""


class FederationInvalid(BadRequest):
    """The federation's TOML is wrong; the text names the key."""

    reason = "FEDERATION_INVALID"


class NameInvalid(BadRequest):
    """A name does not match [a-z0-9][a-z0-9-]{0,62}."""

    reason = "NAME_INVALID"


class RequestInvalid(BadRequest):
    """A field of the request is missing or out of range; the text names the field."""

    reason = "REQUEST_INVALID"


class OffsetOutOfRange(BadRequest):
    """The offset lies beyond the end; details["sizeBytes"] has the size."""

    reason = "OFFSET_OUT_OF_RANGE"


class ComeBack(IsthmusError):
    """Transient. Repeat the same call after `retry_after_seconds`; nothing was lost."""

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0, **details: object) -> None:
        super().__init__(message, **details)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(ComeBack):
    """The aggregator has as many calls as its configuration allows."""

    reason = "OVERLOADED"


class RateLimited(ComeBack):
    """The silo began more uploads within the hour than the aggregator takes."""

    reason = "RATE_LIMITED"


class StoreFull(ComeBack):
    """The store, or the federation's share of it, is full; what has a receipt is safe."""

    reason = "STORE_FULL"


class StoreUnavailable(ComeBack):
    """The aggregator cannot reach its store, or the store cannot write."""

    reason = "STORE_UNAVAILABLE"


class ScratchUnavailable(ComeBack):
    """An aggregator's scratch folder is full or gone; raised and told there, never sent."""

    reason = "SCRATCH_UNAVAILABLE"


class ClusterUnavailable(ComeBack):
    """An aggregator's Ray cluster is gone, or does nothing; raised and told there, never sent."""

    reason = "CLUSTER_UNAVAILABLE"


class AggregatorUnreachable(ComeBack):
    """No aggregator answered at the address; raised at the silo, never sent."""

    reason = "AGGREGATOR_UNREACHABLE"


class AggregatorUntrusted(IsthmusError):
    """What the aggregator sent is not what it may send; raised at the silo, which keeps what it has and sends nothing.

    `details` says `check`, `measured` and `limit`.
    """

    reason = "AGGREGATOR_UNTRUSTED"


class ConfigInvalid(IsthmusError):
    """A configuration file, or a file or folder it names, is wrong; the text names it and what to do."""

    reason = "CONFIG_INVALID"


class InvariantBroken(IsthmusError):
    """Our bug: the text stays in the log of the side that found it."""

    reason = "INVARIANT_BROKEN"
