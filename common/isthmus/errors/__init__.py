"""Everything that can go wrong, as one tree. Knows nothing of gRPC: `isthmus.status` translates.

IsthmusError
+-- RefusedDelta                    the delta is wrong whatever the state: correct it, do not resend it
|   +-- HeaderInvalid
|   +-- SignatureInvalid
|   +-- PayloadMalformed
|   +-- PayloadTooLarge
|   +-- PayloadDigestMismatch
|   +-- SpecMismatch
|   +-- DeltaNotFinite
|   +-- DeltaNormExceeded
|   +-- DeltaNormTooSmall
|   +-- NumExamplesOutOfRange
|   +-- QuotaExceeded
+-- RoundMoved                      pull the current projector and train again
|   +-- RoundClosed
|   +-- BaseStale
+-- UploadBroken                    what arrived is kept: resume
|   +-- OffsetMismatch
|   +-- FinishMissing
|   +-- Incomplete
|   +-- UploadTooSlow
+-- AlreadyThere                    something else of that name stands
|   +-- ContributionConflict
|   +-- DeltaReplayed
|   +-- FederationExists
|   +-- SiloExists
+-- NotAllowed                      ask the operator
|   +-- CredentialMissing
|   +-- IdentityInvalid
|   +-- InvitationInvalid
|   +-- SiloNotEnrolled
|   +-- SiloQuarantined
|   +-- OperatorOnly
+-- NotThere                        check the name or the number
|   +-- FederationUnknown
|   +-- ProjectorUnknown
|   +-- SiloUnknown
+-- NotNow                          the operator stopped it, or has not set it up
|   +-- FederationPaused
|   +-- FederationFinished
|   +-- EnrolmentClosed
+-- BadRequest                      the request is wrong whatever the state: correct it
|   +-- FederationInvalid
|   +-- NameInvalid
|   +-- RequestInvalid
|   +-- OffsetOutOfRange
+-- ComeBack                        transient: repeat the same call after `retry_after_seconds`
|   +-- Overloaded
|   +-- RateLimited
|   +-- StoreFull
|   +-- StoreUnavailable
|   +-- ScratchUnavailable
|   +-- ClusterUnavailable
|   +-- AggregatorUnreachable
+-- AggregatorUntrusted             the silo refuses what the aggregator sent; it sends nothing
+-- ConfigInvalid                   a configuration file or a folder named in it is wrong
+-- InvariantBroken                 our bug
"""

from isthmus.errors.calls import (
    AggregatorUnreachable,
    AggregatorUntrusted,
    AlreadyThere,
    BadRequest,
    ClusterUnavailable,
    ComeBack,
    ConfigInvalid,
    ContributionConflict,
    CredentialMissing,
    DeltaReplayed,
    EnrolmentClosed,
    FederationExists,
    FederationFinished,
    FederationInvalid,
    FederationPaused,
    FederationUnknown,
    IdentityInvalid,
    InvariantBroken,
    InvitationInvalid,
    NameInvalid,
    NotAllowed,
    NotNow,
    NotThere,
    OffsetOutOfRange,
    OperatorOnly,
    Overloaded,
    ProjectorUnknown,
    RateLimited,
    RequestInvalid,
    ScratchUnavailable,
    SiloExists,
    SiloNotEnrolled,
    SiloQuarantined,
    SiloUnknown,
    StoreFull,
    StoreUnavailable,
)
from isthmus.errors.deltas import (
    BaseStale,
    DeltaNormExceeded,
    DeltaNormTooSmall,
    DeltaNotFinite,
    FinishMissing,
    HeaderInvalid,
    Incomplete,
    NumExamplesOutOfRange,
    OffsetMismatch,
    PayloadDigestMismatch,
    PayloadMalformed,
    PayloadTooLarge,
    QuotaExceeded,
    RefusedDelta,
    RoundClosed,
    RoundMoved,
    SignatureInvalid,
    SpecMismatch,
    UploadBroken,
    UploadTooSlow,
)
from isthmus.errors.root import IsthmusError

__all__ = [
    "AggregatorUnreachable",
    "AggregatorUntrusted",
    "AlreadyThere",
    "BadRequest",
    "BaseStale",
    "ClusterUnavailable",
    "ComeBack",
    "ConfigInvalid",
    "ContributionConflict",
    "CredentialMissing",
    "DeltaNormExceeded",
    "DeltaNormTooSmall",
    "DeltaNotFinite",
    "DeltaReplayed",
    "EnrolmentClosed",
    "FederationExists",
    "FederationFinished",
    "FederationInvalid",
    "FederationPaused",
    "FederationUnknown",
    "FinishMissing",
    "HeaderInvalid",
    "IdentityInvalid",
    "Incomplete",
    "InvariantBroken",
    "InvitationInvalid",
    "IsthmusError",
    "NameInvalid",
    "NotAllowed",
    "NotNow",
    "NotThere",
    "NumExamplesOutOfRange",
    "OffsetMismatch",
    "OffsetOutOfRange",
    "OperatorOnly",
    "Overloaded",
    "PayloadDigestMismatch",
    "PayloadMalformed",
    "PayloadTooLarge",
    "ProjectorUnknown",
    "QuotaExceeded",
    "RateLimited",
    "RefusedDelta",
    "RequestInvalid",
    "RoundClosed",
    "RoundMoved",
    "ScratchUnavailable",
    "SignatureInvalid",
    "SiloExists",
    "SiloNotEnrolled",
    "SiloQuarantined",
    "SiloUnknown",
    "SpecMismatch",
    "StoreFull",
    "StoreUnavailable",
    "UploadBroken",
    "UploadTooSlow",
]
