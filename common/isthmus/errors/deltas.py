"""What can be wrong with a delta, or with its way to the aggregator."""

from isthmus.errors.root import IsthmusError


class RefusedDelta(IsthmusError):
    """Admission refused the delta; it touched no aggregate. Correct it before pushing again.

    `details` says `tensor` (where there is one), `check`, `measured` and `limit`.
    """


class HeaderInvalid(RefusedDelta):
    """A field of the contribution's header is missing or out of range."""

    reason = "HEADER_INVALID"


class SignatureInvalid(RefusedDelta):
    """The header's signature is not that of the signing key that the silo enrolled."""

    reason = "SIGNATURE_INVALID"


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


class DeltaNormTooSmall(RefusedDelta):
    """The delta is all zeros, or so small that it says nothing."""

    reason = "DELTA_NORM_TOO_SMALL"


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


class UploadTooSlow(UploadBroken):
    """The upload moved too few bytes for too long and was cut off."""

    reason = "UPLOAD_TOO_SLOW"
