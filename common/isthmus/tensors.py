"""Between torch tensors and payload bytes, on the side of the silo. The aggregator never imports this module."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from isthmus import evaluation
from isthmus.codec import F32, decode_int8, encode_tensors
from isthmus.codec import decode as decode_values
from isthmus.contribution import MAX_METRICS, METRIC_NAME_PATTERN, ContributionHeader, Encoding
from isthmus.delta import difference, num_not_finite, require_finite
from isthmus.errors import AggregatorUntrusted, HeaderInvalid, NumExamplesOutOfRange, PayloadMalformed
from isthmus.payload import layout
from isthmus.payload_header import parse_header
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, require_match
from isthmus.uploads import Chunks, chunks_of_file, chunks_of_parts

Progress = Callable[[str, int, int], None]
"""Called with ("pull" or "push", bytes done, bytes in all), for a push from another thread; its errors end the call."""

TORCH_DTYPES: dict[Encoding, torch.dtype] = {
    Encoding.FP32: torch.float32,
    Encoding.BF16: torch.bfloat16,
    Encoding.FP16: torch.float16,
}
"""torch rounds to nearest even, as the protocol asks. The other encodings are `isthmus.codec`'s."""


@dataclass(frozen=True, slots=True)
class Payload:
    """An encoded delta or projector: its bytes as parts in order, never joined in memory.

    Attributes:
        parts: The safetensors header; each tensor's scales, if any; each tensor's values, which for float32 share
            memory with the tensors encoded.
        size_bytes: Of all parts.
        digest: SHA-256 of all parts, 32 bytes.
    """

    parts: tuple[memoryview, ...]
    size_bytes: int
    digest: bytes


def encode(tensors: Mapping[str, torch.Tensor], spec: ProjectorSpec, encoding: Encoding) -> Payload:
    """The tensors as a payload of the spec in the encoding; for float32 no value is copied.

    Raises:
        SpecMismatch: The tensors have other names or shapes than the spec.
        DeltaNotFinite: A value is not finite once encoded (fp16 ends at 65504).
    """
    require_match(tensors, spec)
    scales: list[memoryview] = []
    values: list[memoryview] = []
    for tensor in spec.tensors:
        *own_scales, own_values = _encoded(tensor.name, tensors[tensor.name].detach(), encoding)
        scales += own_scales
        values.append(own_values)
    parts = [memoryview(layout(spec, encoding).header), *scales, *values]
    return payload_of(parts)


def payload_of(parts: Sequence[memoryview]) -> Payload:
    """A payload of these bytes, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return Payload(tuple(parts), sum(part.nbytes for part in parts), digest.digest())


def _encoded(name: str, tensor: torch.Tensor, encoding: Encoding) -> list[memoryview]:
    """The bytes of one tensor: its scales, if the encoding has any, and its values."""
    dtype = torch.bfloat16 if encoding is Encoding.TOP_K else TORCH_DTYPES.get(encoding, torch.float32)
    values = tensor.to("cpu", dtype).contiguous()
    require_finite(name, values, what=f"The projector encoded as {encoding}")
    if encoding in TORCH_DTYPES:
        return [values.reshape(-1).view(torch.uint8).numpy().data]
    return [memoryview(part) for part in encode_tensors([values.float().numpy()], encoding)]


def decode_delta(payload: Payload, spec: ProjectorSpec, encoding: Encoding) -> dict[str, torch.Tensor]:
    """What the aggregator makes of a payload that `encode` gave: float32 tensors; of fp32 they may share its memory."""
    _, *parts = payload.parts
    scales, values = parts[: -len(spec.tensors)], parts[-len(spec.tensors) :]

    def flat(index: int, num_values: int) -> F32:
        if scales:
            return decode_int8(values[index], scales=scales[index])
        return decode_values(values[index], encoding, num_values=num_values)

    return {
        tensor.name: torch.from_numpy(flat(index, tensor.num_elements)).reshape(tensor.shape)
        for index, tensor in enumerate(spec.tensors)
    }


def decode(data: bytearray, spec: ProjectorSpec) -> dict[str, torch.Tensor]:
    """The float32 tensors of a projector's bytes: views of `data`, which must live and stay as long as they do.

    Raises:
        PayloadMalformed: The bytes are no canonical safetensors.
        SpecMismatch: They hold other tensors than the spec says.
    """
    placed = parse_header(
        bytes(memoryview(data)[: _header_end(data)]), spec, Encoding.FP32, payload_size_bytes=len(data)
    )
    return {
        span.tensor.name: torch.frombuffer(
            data, dtype=torch.float32, count=span.tensor.num_elements, offset=placed.data_start + span.start
        ).reshape(span.tensor.shape)
        for span in placed.tensors
    }


def chunks_of(payload: Payload | Path | str | bytes, *, size_bytes: int) -> Chunks:
    """The chunks of a payload, or of the file that holds one.

    Raises:
        ConfigInvalid: The file cannot be opened or has another size.
        PayloadMalformed: It is neither.
    """
    match payload:
        case Path() | str():
            return chunks_of_file(Path(payload), size_bytes=size_bytes)
        case bytes():
            return chunks_of_parts((memoryview(payload),))
        case Payload():
            return chunks_of_parts(payload.parts)
    raise PayloadMalformed(
        f"A payload is a file's path, bytes or an isthmus.Payload, not {type(payload).__qualname__}; `push` takes "
        "tensors.",
        check="type",
        measured=type(payload).__qualname__,
    )


def contribution_of(
    round: Round,
    *,
    local: Mapping[str, torch.Tensor],
    base: Mapping[str, torch.Tensor],
    num_examples: int,
    metrics: Mapping[str, float] | None = None,
    in_place: bool = False,
) -> tuple[ContributionHeader, Payload]:
    """The header and payload of delta = local - base, checked as far as a silo can: what an outbox keeps.

    Args:
        round: The round that is contributed to.
        local: The trained projector; any floating dtype, any device.
        base: The global projector of the round, as pulled.
        num_examples: Samples trained on, the weight that is claimed.
        metrics: Numbers that travel along, for example {"train_loss": 2.5}.
        in_place: The delta takes the memory of `base`.

    Raises:
        RefusedDelta: What the aggregator would refuse; see `isthmus.delta.difference` and `isthmus.errors`.
    """
    delta = difference(local, base, spec=round.spec, in_place=in_place)
    return contribution_of_delta(round, delta=delta, num_examples=num_examples, metrics=metrics)


def contribution_of_delta(
    round: Round,
    *,
    delta: Mapping[str, torch.Tensor],
    num_examples: int,
    metrics: Mapping[str, float] | None = None,
) -> tuple[ContributionHeader, Payload]:
    """As `contribution_of`, of a delta that was taken already: float32, on the CPU.

    Raises:
        RefusedDelta: What the aggregator would refuse.
    """
    weight = whole_number(num_examples, round.max_num_examples)
    payload = encode(delta, round.spec, round.encoding)
    return header_of(round, payload, num_examples=weight, metrics=checked_metrics(metrics or {})), payload


def header_of(round: Round, payload: Payload, *, num_examples: int, metrics: Mapping[str, float]) -> ContributionHeader:
    """The header of a payload for this round; weight and metrics as they were checked."""
    return ContributionHeader(
        federation=round.federation,
        round=round.number,
        base_digest=round.base_digest,
        spec_fingerprint=round.spec.fingerprint,
        payload_digest=payload.digest,
        payload_size_bytes=payload.size_bytes,
        num_examples=num_examples,
        encoding=round.encoding,
        metrics=dict(metrics),
    )


def whole_number(num_examples: object, limit: int) -> int:
    """The weight as an int, whatever kind of number says it.

    Raises:
        NumExamplesOutOfRange: It is no whole number from 1 to the limit.
    """
    number = _number(num_examples)
    if isinstance(num_examples, bool | str) or not number.is_integer() or not 1 <= number <= limit:
        raise NumExamplesOutOfRange(
            f"num_examples is {num_examples!r}; this federation takes whole numbers from 1 to {limit}.",
            check="num_examples",
            measured=num_examples,
            limit=limit,
        )
    return num_examples if isinstance(num_examples, int) else int(number)


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics as floats.

    Raises:
        HeaderInvalid: They cannot travel.
    """
    if len(metrics) > MAX_METRICS:
        raise HeaderInvalid(f"There are {len(metrics)} metrics; at most {MAX_METRICS} travel.", check="metrics")
    checked = {name: _number(value) for name, value in metrics.items()}
    for name, value in checked.items():
        if not isinstance(name, str) or not METRIC_NAME_PATTERN.fullmatch(name) or not math.isfinite(value):
            raise HeaderInvalid(
                f"Metric {name!r} = {metrics[name]!r} cannot travel: a name matches {METRIC_NAME_PATTERN.pattern}, "
                "such as eval.loss, and is no path; a value is a finite number. Rename the metric, or leave it out.",
                check="metrics",
                measured=metrics[name],
                limit=METRIC_NAME_PATTERN.pattern,
            )
    if words := evaluation.flaw(checked):
        raise HeaderInvalid(
            f"The metrics say {words}; an evaluation is {evaluation.BOUNDS}. Correct it, or leave it out.",
            check="metrics",
            measured=words,
            limit=evaluation.BOUNDS,
        )
    return checked


def _number(value: object) -> float:
    """A number of any library as a float; NaN: it is none."""
    try:
        return float(value)  # type: ignore[arg-type]  # whatever Python can make a number of
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last: a tensor of several values
        return math.nan


def _header_end(data: bytearray) -> int:
    """Offset of the first value as the bytes claim, never beyond them; `parse_header` judges the claim."""
    return min(len(data), 8 + int.from_bytes(data[:8], "little"))


def require_finite_projector(projector: Mapping[str, torch.Tensor], *, number: int) -> None:
    """Checks a global projector that was pulled.

    Raises:
        AggregatorUntrusted: A value is NaN or infinite; names tensor and count.
    """
    for name, tensor in projector.items():
        num_wrong = num_not_finite(tensor)
        if num_wrong:
            raise AggregatorUntrusted(
                f"Tensor {name} of projector {number} has {num_wrong} values that are not finite; the limit "
                "is 0. Nothing was trained from it. Tell the operator.",
                check="finite",
                measured=num_wrong,
                limit=0,
            )
