"""Everything that can go wrong, as one tree. Knows nothing of gRPC: `isthmus.status` translates.

IsthmusError
+-- RefusedDelta                    the delta is wrong whatever the state: correct it, do not resend it
|   +-- HeaderInvalid
|   +-- PayloadMalformed
|   +-- PayloadTooLarge
|   +-- PayloadDigestMismatch
|   +-- SpecMismatch
|   +-- DeltaNotFinite
|   +-- DeltaNormExceeded
|   +-- NumExamplesOutOfRange
|   +-- QuotaExceeded
+-- RoundMoved                      pull the current projector and train again
|   +-- RoundClosed
|   +-- BaseStale
+-- UploadBroken                    what arrived is kept: resume
|   +-- OffsetMismatch
|   +-- FinishMissing
|   +-- Incomplete
+-- AlreadyThere                    something else of that name stands
|   +-- ContributionConflict
|   +-- FederationExists
|   +-- SiloExists
+-- NotAllowed                      ask the operator
|   +-- CredentialMissing
|   +-- CredentialUnknown
|   +-- SiloNotEnrolled
|   +-- OperatorOnly
+-- NotThere                        check the name or the number
|   +-- FederationUnknown
|   +-- ProjectorUnknown
|   +-- SiloUnknown
+-- NotNow                          the operator stopped the federation
|   +-- FederationPaused
|   +-- FederationFinished
+-- BadRequest                      the request is wrong whatever the state: correct it
|   +-- FederationInvalid
|   +-- NameInvalid
|   +-- RequestInvalid
|   +-- OffsetOutOfRange
+-- ComeBack                        transient: repeat the same call after `retry_after_seconds`
|   +-- Overloaded
|   +-- StoreUnavailable
|   +-- ScratchUnavailable
|   +-- AggregatorUnreachable
+-- ConfigInvalid                   a configuration file or a folder named in it is wrong
+-- InvariantBroken                 our bug
"""

from typing import ClassVar


class IsthmusError(Exception):
    """Something a user can understand went wrong.

    Attributes:
        reason: Stable UPPER_SNAKE_CASE name of the error, the same on the wire.
        details: Measured values and limits by camelCase key, as text; units stand in the key.
    """

    reason: ClassVar[str] = ""

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details: dict[str, str] = {key: str(value) for key, value in details.items()}


class RefusedDelta(IsthmusError):
    """Admission refused the delta; it touched no aggregate. Correct it before pushing again.

    `details` says `tensor` (where there is one), `check`, `measured` and `limit`.
    """


class HeaderInvalid(RefusedDelta):
    """A field of the contribution's header is missing or out of range."""

    reason = "HEADER_INVALID"


class PayloadMalformed(RefusedDelta):
    """The payload is not canonical safetensors of the federation's spec."""

    reason = "PAYLOAD_MALFORMED"


class PayloadTooLarge(RefusedDelta):
    """The payload is larger than the federation's spec allows."""

    reason = "PAYLOAD_TOO_LARGE"


class PayloadDigestMismatch(RefusedDelta):
    """The bytes received are not the bytes announced; staged bytes are dropped, so a retry starts at 0."""

    reason = "PAYLOAD_DIGEST_MISMATCH"


class SpecMismatch(RefusedDelta):
    """Tensors are missing, extra, or of another shape or dtype than the federation's spec says."""

    reason = "SPEC_MISMATCH"


class DeltaNotFinite(RefusedDelta):
    """A tensor holds NaN or infinity."""

    reason = "DELTA_NOT_FINITE"


class DeltaNormExceeded(RefusedDelta):
    """A tensor's L2 norm, or that of the whole delta, is over the federation's limit."""

    reason = "DELTA_NORM_EXCEEDED"


class NumExamplesOutOfRange(RefusedDelta):
    """The weight claimed is outside the federation's range."""

    reason = "NUM_EXAMPLES_OUT_OF_RANGE"


class QuotaExceeded(RefusedDelta):
    """The silo has staged as much for this round as the aggregator takes from one silo; the next round is free."""

    reason = "QUOTA_EXCEEDED"


class RoundMoved(IsthmusError):
    """The federation went on without this delta. Pull the current projector and train again."""


class RoundClosed(RoundMoved):
    """The round was cut before the delta was counted; `details` has currentRound."""

    reason = "ROUND_CLOSED"


class BaseStale(RoundMoved):
    """The delta was trained from another projector than the one the round starts from."""

    reason = "BASE_STALE"


class UploadBroken(IsthmusError):
    """The upload is not whole yet. What arrived is kept: resume it."""


class OffsetMismatch(UploadBroken):
    """A chunk does not start where the durable bytes end; resume at details["committedBytes"]."""

    reason = "OFFSET_MISMATCH"


class FinishMissing(UploadBroken):
    """The stream ended without the finish part."""

    reason = "FINISH_MISSING"


class Incomplete(UploadBroken):
    """The finish part came before all announced bytes."""

    reason = "INCOMPLETE"


class AlreadyThere(IsthmusError):
    """Something else of that name stands, and stays."""


class ContributionConflict(AlreadyThere):
    """This silo already contributed other bytes to this round; the first stands."""

    reason = "CONTRIBUTION_CONFLICT"


class FederationExists(AlreadyThere):
    """A federation of that name exists with another content; choose another name."""

    reason = "FEDERATION_EXISTS"


class SiloExists(AlreadyThere):
    """The silo is enrolled already; invite it again with replace to void its old credential."""

    reason = "SILO_EXISTS"


class NotAllowed(IsthmusError):
    """The caller may not do this; the operator can change that."""


class CredentialMissing(NotAllowed):
    """The call carried no credential."""

    reason = "CREDENTIAL_MISSING"


class CredentialUnknown(NotAllowed):
    """The call's credential was never issued here, or was replaced."""

    reason = "CREDENTIAL_UNKNOWN"


class SiloNotEnrolled(NotAllowed):
    """The silo was revoked."""

    reason = "SILO_NOT_ENROLLED"


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
    """The operator stopped the federation."""


class FederationPaused(NotNow):
    """The federation is paused; the same call works once the operator resumes it."""

    reason = "FEDERATION_PAUSED"


class FederationFinished(NotNow):
    """The federation is finished; nothing more is admitted."""

    reason = "FEDERATION_FINISHED"


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


class StoreUnavailable(ComeBack):
    """The aggregator cannot reach its store, or the store cannot write."""

    reason = "STORE_UNAVAILABLE"


class ScratchUnavailable(ComeBack):
    """An aggregator's scratch folder is full or gone; raised and told there, never sent."""

    reason = "SCRATCH_UNAVAILABLE"


class AggregatorUnreachable(ComeBack):
    """No aggregator answered at the address; raised at the silo, never sent."""

    reason = "AGGREGATOR_UNREACHABLE"


class ConfigInvalid(IsthmusError):
    """A configuration file, or a file or folder it names, is wrong; the text names it and what to do."""

    reason = "CONFIG_INVALID"


class InvariantBroken(IsthmusError):
    """Our bug: the text stays in the log of the side that found it."""

    reason = "INVARIANT_BROKEN"
