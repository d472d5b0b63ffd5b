"""Admission of a contribution's header: all that can be judged before a payload byte is read. Pure.

`aggregator.admission.payload` judges the payload.
"""

import math

from isthmus import evaluation
from isthmus.contribution import EPSILON_METRIC, MAX_METRICS, METRIC_NAME_PATTERN, ContributionHeader
from isthmus.errors import (
    BaseStale,
    HeaderInvalid,
    NumExamplesOutOfRange,
    PayloadMalformed,
    PayloadTooLarge,
    RoundClosed,
    SpecMismatch,
)
from isthmus.federation import Federation
from isthmus.foreign import quoted, shown
from isthmus.payload import MAX_HEADER_BYTES, PREFIX_BYTES, spans
from isthmus.payload_entries import label
from isthmus.spec import ProjectorSpec
from isthmus.strict_json import malformed

DIGEST_BYTES = 32
"""Of a raw SHA-256."""


def judge_header(
    header: ContributionHeader, *, federation: Federation, spec: ProjectorSpec, round_number: int, base_digest: bytes
) -> None:
    """Judges all that the header says, before any payload byte is read.

    Args:
        header: As the silo sent it.
        federation: The one it contributes to.
        spec: That federation's.
        round_number: The open round.
        base_digest: SHA-256 of the global projector that the header's round starts from, if that round is still taken;
            else of the open round's.

    Raises:
        HeaderInvalid: A field is missing or out of range.
        RoundClosed: It is for an earlier round than the federation's `max_staleness` allows.
        BaseStale: It is for a later round, or trained from another projector.
        SpecMismatch: It was trained against another spec.
        PayloadTooLarge: It announces more bytes than the spec's payload can have.
        PayloadMalformed: It announces fewer.
        NumExamplesOutOfRange: The weight is not in 1..`max_num_examples`.
    """
    _require_fields(header, federation)
    _require_round(header, round_number, max_staleness=federation.participation.max_staleness)
    _require_start(header, base_digest, open_round=round_number)
    _require_spec(header, spec)
    _require_size(header, spec)
    require_num_examples(header.num_examples, federation.admission.max_num_examples)
    _require_metrics(header.metrics)
    if federation.plan.privacy:
        _require_privacy(header.metrics, federation.plan.privacy.epsilon)


def _require_fields(header: ContributionHeader, federation: Federation) -> None:
    if header.federation != federation.name:
        raise _invalid("federation", check="FEDERATION", measured=label(header.federation), limit=federation.name)
    if header.round < 1:
        raise _invalid("round", check="ROUND", measured=header.round, limit="at least 1")
    if header.encoding is not federation.encoding:
        raise _invalid("encoding", check="ENCODING", measured=header.encoding.value, limit=federation.encoding.value)
    for field in ("base_digest", "spec_fingerprint", "payload_digest"):
        digest = getattr(header, field)
        if not isinstance(digest, bytes) or len(digest) != DIGEST_BYTES:
            raise _invalid(
                field,
                check="DIGEST_FORMAT",
                measured=f"{len(digest)} bytes",
                limit=f"the {DIGEST_BYTES} raw bytes of a SHA-256 (not hex)",
            )


def _invalid(field: str, *, check: str, measured: object, limit: object) -> HeaderInvalid:
    return HeaderInvalid(
        f"The contribution's header says {field} {measured}; it must be {limit}. Correct it and push again; "
        "SiloClient.push fills in the whole header.",
        check=check,
        measured=measured,
        limit=limit,
    )


def _require_round(header: ContributionHeader, round_number: int, *, max_staleness: int) -> None:
    if header.round < round_number - max_staleness:
        allowed = f", and deltas may be {max_staleness} behind" if max_staleness else ""
        raise RoundClosed(
            f"Round {header.round} was cut before this delta was counted; round {round_number} is open{allowed}. Pull "
            "the current projector and train again.",
            currentRound=round_number,
            check="ROUND",
            measured=header.round,
            limit=round_number - max_staleness,
        )
    if header.round > round_number:
        raise BaseStale(
            f"The delta is for round {header.round}, but round {round_number} is open. Pull the current projector and "
            "train again.",
            currentRound=round_number,
            check="ROUND",
            measured=header.round,
            limit=round_number,
        )


def _require_start(header: ContributionHeader, base_digest: bytes, *, open_round: int) -> None:
    if header.base_digest != base_digest:
        raise BaseStale(
            f"The delta was trained from projector {quoted(header.base_digest.hex()[:12])}, but round {header.round} "
            f"starts from {base_digest.hex()[:12]}. Pull the current projector and train again.",
            currentRound=open_round,
            check="BASE",
            measured=quoted(header.base_digest.hex()),
            limit=base_digest.hex(),
        )


def _require_spec(header: ContributionHeader, spec: ProjectorSpec) -> None:
    if header.spec_fingerprint != spec.fingerprint:
        raise SpecMismatch(
            f"The delta was made for the projector spec {quoted(header.spec_fingerprint.hex()[:12])}, but the "
            f"federation's is {spec.fingerprint.hex()[:12]}: tensor names, shapes or dtypes differ. Train the "
            "projector that was pulled; `python -m silo_agent check` shows the difference.",
            check="SCHEMA_FINGERPRINT",
            measured=quoted(header.spec_fingerprint.hex()),
            limit=spec.fingerprint.hex(),
        )


def _require_size(header: ContributionHeader, spec: ProjectorSpec) -> None:
    values = spans(spec, header.encoding)[-1].end
    least, most = PREFIX_BYTES + 2 + values, PREFIX_BYTES + MAX_HEADER_BYTES + values
    if header.payload_size_bytes < least:
        raise _too_short(header.payload_size_bytes, least)
    if header.payload_size_bytes > most:
        raise PayloadTooLarge(
            f"The header announces a payload of {header.payload_size_bytes} bytes; one of the federation's spec in "
            f"{header.encoding} has at most {most}. Push the delta of the projector's tensors alone, in that encoding.",
            check="ST_LENGTH",
            measured=header.payload_size_bytes,
            limit=most,
        )


def _too_short(size_bytes: int, least: int) -> PayloadMalformed:
    return malformed(
        "ST_SHORT",
        f"The header announces a payload of {size_bytes} bytes; one of the federation's spec has at least {least}.",
        measured=size_bytes,
        limit=least,
    )


def require_num_examples(num_examples: int, most: int) -> None:
    """Checks the weight that a silo claims.

    Raises:
        NumExamplesOutOfRange: It is not in 1..`most`.
    """
    if type(num_examples) is not int or not 1 <= num_examples <= most:  # bool is an int to isinstance
        raise NumExamplesOutOfRange(
            f"The contribution claims num_examples {shown(num_examples)}; the federation takes 1 to {most}. Give the "
            "number of samples that were trained on, or ask the operator about admission.max_num_examples.",
            check="EXAMPLES_RANGE",
            measured=shown(num_examples),
            limit=most,
        )


def _require_metrics(metrics: dict[str, float]) -> None:
    if len(metrics) > MAX_METRICS:
        raise _metrics(f"{len(metrics)} metrics", f"at most {MAX_METRICS}")
    for name, value in metrics.items():
        if not METRIC_NAME_PATTERN.fullmatch(name):
            raise _metrics(f"the metric name {shown(name)}", f"names of {METRIC_NAME_PATTERN.pattern}")
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _metrics(f"{label(name)} = {shown(value)}", "finite numbers")
    if words := evaluation.flaw(metrics):
        raise _metrics(words, evaluation.BOUNDS)


def _require_privacy(metrics: dict[str, float], most: float) -> None:
    """A silo's word that it trained with privacy, and kept to the budget; no aggregator can see whether it did."""
    spent = metrics.get(EPSILON_METRIC)
    if spent is None or not 0.0 < spent <= most:
        measured = "no" if spent is None else f"{EPSILON_METRIC} = {spent:g} as the"
        raise _metrics(f"{measured} privacy that is spent", f"{EPSILON_METRIC} above 0 and at most {most:g} here")


def _metrics(measured: str, limit: str) -> HeaderInvalid:
    return HeaderInvalid(
        f"The contribution reports {measured}; metrics must be {limit}. Correct or leave out that metric and push "
        "again.",
        check="METRICS_RANGE",
        measured=measured,
        limit=limit,
    )
