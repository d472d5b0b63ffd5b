"""Admission of a payload as it streams by: its header, its values, its digest and its norms. Pure.

`aggregator.admission.header` judges the contribution's header before.
"""

import hashlib
from dataclasses import dataclass

from aggregator.admission.full_weights import LEAST_SHARE, Likeness, ReadBase, likeness, sampled_tensors
from aggregator.admission.norms import NormMeter
from aggregator.admission.unmeasured import Unmeasured
from isthmus.contribution import ContributionHeader, Encoding
from isthmus.errors import (
    DeltaNormExceeded,
    DeltaNormTooSmall,
    Incomplete,
    PayloadDigestMismatch,
    RefusedDelta,
)
from isthmus.federation import AdmissionPolicy
from isthmus.foreign import quoted
from isthmus.payload import PREFIX_BYTES, PayloadLayout, header_bytes
from isthmus.payload_entries import header_size
from isthmus.payload_header import parse_header
from isthmus.spec import ProjectorSpec
from isthmus.strict_json import malformed

LEAST_L2_NORM = 2.0**-63
"""A delta of a smaller norm says nothing: in float32 its square is none, and it moves no weight above 1e-11."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What admission measured of a delta it let through.

    Attributes:
        l2_norm: Of the whole delta: float64, of the decoded values; 0 of a masked one, which nobody can measure.
        tensor_l2_norms: Of each tensor, by name, in the spec's order.
        layout: Where the tensors lie in this payload.
    """

    l2_norm: float
    tensor_l2_norms: dict[str, float]
    layout: PayloadLayout


class PayloadInspection:
    """Judges one payload; any chunking of the same bytes gives the same verdict and the same norms.

    Once it refused, it refuses whatever is asked of it next. Holds one block of values, whatever the payload's size.

    Args:
        header: Judged by `aggregator.admission.header.judge_header` before.
        spec: The federation's.
        policy: The federation's limits.
        read_base: Reads the base projector; without it, full weights in place of a delta are not recognised.
    """

    def __init__(
        self,
        header: ContributionHeader,
        *,
        spec: ProjectorSpec,
        policy: AdmissionPolicy,
        read_base: ReadBase | None = None,
    ) -> None:
        self._header = header
        self._spec = spec
        self._policy = policy
        self._read_base = read_base
        self._hash = hashlib.sha256()
        self._received = 0
        self._head = bytearray()
        self._head_bytes = PREFIX_BYTES
        self._layout: PayloadLayout | None = None
        self._meter: NormMeter | Unmeasured | None = None
        self._refusal: RefusedDelta | None = None

    @property
    def may_be_kept(self) -> bool:
        """Whether the bytes so far say no more than the spec: the header was let in, or begins as ours does."""
        return self._layout is not None or header_bytes(self._spec, self._header.encoding).startswith(self._head)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes so far."""
        return self._hash.digest()

    def feed(self, data: bytes | memoryview) -> None:
        """Takes the next bytes. Call it before they are stored: what it raises for must not be kept.

        Raises:
            PayloadMalformed: The safetensors header is not canonical, or there are more bytes than announced.
            SpecMismatch: Its tensors are not the spec's.
            DeltaNotFinite: A block of values that is complete now holds NaN or infinity.
        """
        self._stand_by_refusal()
        try:
            self._take(memoryview(data))
        except RefusedDelta as refusal:
            self._refusal = refusal
            raise

    def finish(self) -> Admitted:
        """The verdict when all bytes were fed.

        Raises:
            Incomplete: Fewer bytes than announced were fed; the upload can go on.
            PayloadDigestMismatch: They are not the bytes announced.
            DeltaNormExceeded: A norm is over its limit, or the payload is the projector itself instead of a delta.
            DeltaNormTooSmall: The delta is all zeros, or next to, and the federation allows no such.
        """
        self._stand_by_refusal()
        self._require_whole()
        meter, layout = self._meter, self._layout
        assert meter is not None  # nosec B101  # its header was, too: see below
        assert layout is not None  # nosec B101  # all bytes are there, so its header was
        try:
            self._require_digest()
            if isinstance(meter, NormMeter):
                self._require_norms(meter)
        except RefusedDelta as refusal:
            self._refusal = refusal
            raise
        return Admitted(meter.l2_norm, meter.tensor_l2_norms, layout)

    def _stand_by_refusal(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _take(self, data: memoryview) -> None:
        room = self._header.payload_size_bytes - self._received
        announced = data[:room]
        self._hash.update(announced)
        self._received += len(announced)
        values = self._take_head(announced)
        if self._meter is not None:
            self._meter.feed(values)
        # Judged last, so that what is wrong among the announced bytes is found first, however they are cut.
        if len(data) > room:
            raise malformed(
                "ST_LENGTH",
                f"More bytes came than the {self._header.payload_size_bytes} that were announced.",
                measured=f"more than {self._header.payload_size_bytes}",
                limit=self._header.payload_size_bytes,
            )

    def _take_head(self, data: memoryview) -> memoryview:
        """Keeps and judges the bytes before the values; the rest of `data`."""
        while self._meter is None and data:
            missing = self._head_bytes - len(self._head)
            self._head += data[:missing]
            data = data[missing:]
            if len(self._head) == self._head_bytes:
                self._judge_head()
        return data

    def _judge_head(self) -> None:
        size_bytes = self._header.payload_size_bytes
        if self._head_bytes == PREFIX_BYTES:
            self._head_bytes = header_size(self._head, payload_size_bytes=size_bytes)
            return
        layout = parse_header(self._head, self._spec, self._header.encoding, payload_size_bytes=size_bytes)
        sampled = sampled_tensors(self._spec) if self._read_base else frozenset()
        masked = self._header.encoding is Encoding.RING32
        self._meter = Unmeasured() if masked else NormMeter(layout.tensors, self._header.encoding, sampled=sampled)
        self._layout = layout

    def _require_whole(self) -> None:
        announced = self._header.payload_size_bytes
        if self._received < announced:
            raise Incomplete(
                f"Only {self._received} of the {announced} bytes announced have arrived. Resume the push from there.",
                committedBytes=self._received,
                check="ST_LENGTH",
                measured=self._received,
                limit=announced,
            )

    def _require_digest(self) -> None:
        measured = self._hash.digest()
        if measured != self._header.payload_digest:
            raise PayloadDigestMismatch(
                f"The payload received has SHA-256 {measured.hex()[:12]}, the header announced "
                f"{quoted(self._header.payload_digest.hex()[:12])}: it was changed on its way or after it was hashed. "
                "Push it again from the start.",
                check="DIGEST_MISMATCH",
                measured=measured.hex(),
                limit=quoted(self._header.payload_digest.hex()),
            )

    def _require_norms(self, meter: NormMeter) -> None:
        """Judges the tensors in the spec's order, then the whole, then whether it is a delta at all."""
        resembles = likeness(meter.samples, self._spec, self._read_base) if self._read_base else None
        limit = self._policy.max_tensor_l2_norm
        for name, norm in meter.tensor_l2_norms.items():
            if limit is not None and norm > limit:
                raise _norm_exceeded(name, norm, limit=limit, hint=_hint(resembles, meter.l2_norm))
        if meter.l2_norm > self._policy.max_l2_norm:
            hint = _hint(resembles, meter.l2_norm)
            raise _norm_exceeded("", meter.l2_norm, limit=self._policy.max_l2_norm, hint=hint)
        if meter.l2_norm < LEAST_L2_NORM and not self._policy.allow_zero:
            raise DeltaNormTooSmall(
                f"The delta has an L2 norm of {meter.l2_norm:.6g}: it changes nothing. Find out why training changed "
                "nothing (a learning rate of 0, no data, parameters that are frozen), or ask the operator about "
                "admission.allow_zero.",
                check="NORM_BELOW_FLOOR",
                measured=meter.l2_norm,
                limit=LEAST_L2_NORM,
            )
        if resembles is not None and resembles.is_full_weights(meter.l2_norm):
            raise DeltaNormExceeded(
                f"The delta is refused: {_hint(resembles, meter.l2_norm)}",
                check="FULL_WEIGHTS",
                measured=meter.l2_norm,
                limit=LEAST_SHARE * resembles.base_l2_norm,
            )


def _norm_exceeded(tensor: str, norm: float, *, limit: float, hint: str) -> DeltaNormExceeded:
    what = f"Tensor {tensor} of the delta" if tensor else "The delta"
    key = "max_tensor_l2_norm" if tensor else "max_l2_norm"
    details = {"tensor": tensor} if tensor else {}
    advice = hint or (
        f"Train more gently (a lower learning rate, fewer local steps), or ask the operator about admission.{key}."
    )
    return DeltaNormExceeded(
        f"{what} has an L2 norm of {_text(norm, limit)}, the federation's limit is {_text(limit, norm)}. {advice}",
        check="TENSOR_NORM_EXCEEDED" if tensor else "NORM_EXCEEDED",
        measured=norm,
        limit=limit,
        **details,
    )


def _hint(resembles: Likeness | None, l2_norm: float) -> str:
    """What to do about full weights sent in place of a delta; empty when it is none."""
    if resembles is None or not resembles.is_full_weights(l2_norm):
        return ""
    return (
        f"It looks like full weights instead of a delta: its norm {l2_norm:.4g} is close to the global projector's "
        f"{resembles.base_l2_norm:.4g}, and its values point the same way (cosine {resembles.cosine:.2f}). Push "
        "local - global; SiloClient.push computes it from the local tensors."
    )


def _text(number: float, other: float) -> str:
    """Short, unless the two numbers would then look equal."""
    return repr(number) if f"{number:.6g}" == f"{other:.6g}" else f"{number:.6g}"
