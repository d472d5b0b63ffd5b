"""Admission: the checks that a delta must pass. Pure. Signatures first; the bodies follow within the hour."""

from collections.abc import Callable
from dataclasses import dataclass

from isthmus.contribution import ContributionHeader
from isthmus.federation import AdmissionPolicy, Federation
from isthmus.payload import PayloadLayout
from isthmus.spec import ProjectorSpec


@dataclass(frozen=True, slots=True)
class Admitted:
    """What admission measured of a delta it let through: norms in float64 of the decoded values, and its layout."""

    l2_norm: float
    tensor_l2_norms: dict[str, float]
    layout: PayloadLayout


def judge_header(
    header: ContributionHeader, *, federation: Federation, spec: ProjectorSpec, round_number: int, base_digest: bytes
) -> None:
    """Judges all that the header says, before any payload byte is read.

    Args:
        header: As the silo sent it.
        federation: The one it contributes to.
        spec: That federation's.
        round_number: The open round.
        base_digest: SHA-256 of the global projector that the open round starts from.

    Raises:
        HeaderInvalid: A field is missing or out of range.
        RoundClosed: It is for an earlier round.
        BaseStale: It is for a later round, or trained from another projector.
        SpecMismatch: It was trained against another spec.
        PayloadTooLarge: It announces more bytes than the spec's payload can have.
        PayloadMalformed: It announces fewer.
        NumExamplesOutOfRange: The weight is not in 1..`max_num_examples`.
    """
    raise NotImplementedError


class PayloadInspection:
    """Judges one payload as it streams by; any chunking of the same bytes gives the same verdict and norms.

    Args:
        header: Judged by `judge_header` before.
        spec: The federation's.
        policy: The federation's limits.
        read_base: Reads (start, size) of the base projector's payload, float32; called only to explain a refused norm.
    """

    def __init__(
        self,
        header: ContributionHeader,
        *,
        spec: ProjectorSpec,
        policy: AdmissionPolicy,
        read_base: Callable[[int, int], bytes] | None = None,
    ) -> None:
        raise NotImplementedError

    def feed(self, data: bytes | memoryview) -> None:
        """Takes the next bytes. Call it before they are stored: what it raises for must not be kept.

        Raises:
            PayloadMalformed: The safetensors header is not canonical, or there are more bytes than announced.
            SpecMismatch: Its tensors are not the spec's.
            DeltaNotFinite: A value is NaN or infinite.
        """
        raise NotImplementedError

    def finish(self) -> Admitted:
        """The verdict when all bytes were fed.

        Raises:
            Incomplete: Fewer bytes than announced were fed; the upload can go on.
            PayloadDigestMismatch: They are not the bytes announced.
            DeltaNormExceeded: A norm is over its limit.
        """
        raise NotImplementedError
