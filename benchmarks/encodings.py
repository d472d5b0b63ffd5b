"""What an encoding costs in loss and saves in bytes: the demo's task, federated once per encoding and seed.

    .venv/bin/python -m benchmarks.encodings --seeds 0 1 2 --log

The silos' own trainer and error feedback, admission, the codec and a round's arithmetic, all in one process; no gRPC
and no store, which carry these bytes as they are. The demo's models, pictures and recipe, but fewer pictures and more
rounds, so that what an encoding loses has rounds to add up. Exit codes: 0 int8 with feedback is within 1 % of float32's
held-out loss, averaged over the seeds, at a quarter of its bytes (25.5 % at most); 1 it is not, or something is missing.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from aggregator.admission.payload import PayloadInspection
from aggregator.aggregate import RoundInputs, aggregate
from aggregator.blocks import Payload as Stored
from aggregator.blocks import open_payload
from benchmarks.logbook import enter, machine
from deploy.demo.__main__ import real_ingredients
from deploy.demo.display import Display
from deploy.demo.judge import Judge
from deploy.demo.pictures import lay_out
from deploy.demo.recipe import FEATURES, RECIPE, Recipe
from deploy.demo.run import Ingredients
from isthmus.contribution import Encoding
from isthmus.errors import IsthmusError
from isthmus.federation import Federation, FederationState, parse_federation, plan_of_round
from isthmus.feedback import ErrorFeedback
from isthmus.projectors import build_projector
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, spec_of
from isthmus.tensors import decode, encode
from silo_agent.composed import ComposedModel, ComposedOptions, ComposedTrainer
from silo_agent.config import DataConfig
from silo_agent.data import load_samples
from silo_agent.trainer import Surroundings

ROOT = Path(__file__).parents[1]
MOST_LOSS, MOST_BYTES = 1.01, 0.255
SMALLER = dataclasses.replace(RECIPE, concepts_per_silo=12, held_out_per_topic=12, rounds=6)
MEMORY_BUDGET_BYTES = 64 << 20

ARMS: dict[str, str] = {
    "fp32": 'encoding = "fp32"',
    "bf16": 'encoding = "bf16"',
    "int8": 'encoding = "int8"',
    "int8, no feedback": 'encoding = "int8"\nerror_feedback = false',
}
"""Lines of the federation's TOML."""


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """One federation: its encoding, its seed, held-out loss after each round in nats per token, and bytes pushed."""

    arm: str
    seed: int
    losses: list[float]
    pushed_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every arm with every seed, prints the table, and enters it into the log when asked to."""
    parser = argparse.ArgumentParser(description="Compares encodings by held-out loss and by bytes.")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "encodings.json")
    parser.add_argument("--log", action="store_true", help="enter the numbers into docs/LOG.md")
    options = parser.parse_args(arguments)
    found: list[Measured] = []
    try:
        with Display(Console(highlight=False)) as display:
            ingredients = real_ingredients(display)
            for seed in options.seeds:
                for arm in options.arms:
                    display.stage(f"{arm}, seed {seed}")
                    found.append(_measure(arm, ingredients, dataclasses.replace(SMALLER, seed=seed)))
                    _write(found, options.out)  # after each: what was measured stays, whatever comes later
    except IsthmusError as error:
        print(f"encodings: {error}", file=sys.stderr)
        return 1
    print(text := _text(found))
    if options.log:
        enter("Encodings: loss and bytes", text)
    loss, size = _ratios(found, "int8")
    return 0 if loss <= MOST_LOSS and size <= MOST_BYTES else 1


def _measure(arm: str, ingredients: Ingredients, recipe: Recipe) -> Measured:
    """One federation of the recipe in one encoding, from the same initial projector in every encoding."""
    cache = ROOT / ".cache" / "benchmarks" / "encodings"
    options = ComposedOptions(encoder_weights=ingredients.models.encoder_weights, llm=ingredients.models.llm)
    model = ComposedModel(options, cache=cache)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = lay_out(
            ingredients.concepts,
            folder,
            concepts_per_silo=recipe.concepts_per_silo,
            held_out_per_topic=recipe.held_out_per_topic,
            seed=recipe.seed,
        )
        widths = (FEATURES, ingredients.models.llm_width)
        toml = recipe.federation_toml(num_silos=len(drawn.silos), widths=widths)
        federation = parse_federation(toml.replace(ARMS["fp32"], ARMS[arm]))
        judge = Judge(model, plan_of_round(federation, 1), drawn.held_out, cache=cache)
        silos = [
            _Silo(_trainer(silo, data, options, model=model, cache=cache), ErrorFeedback(folder / "lost" / silo))
            for silo, data in drawn.silos.items()
        ]
        losses, pushed_bytes = [], 0
        for projector, spec, num_bytes in _federate(federation, silos):
            losses.append(judge.losses(decode(bytearray(projector), spec)).all)
            pushed_bytes += num_bytes
    return Measured(arm, recipe.seed, losses, pushed_bytes)


@dataclasses.dataclass(frozen=True, slots=True)
class _Silo:
    """What a silo trains with, and what its deltas lost."""

    trainer: ComposedTrainer
    feedback: ErrorFeedback


def _trainer(silo: str, data: Path, options: ComposedOptions, *, model: ComposedModel, cache: Path) -> ComposedTrainer:
    samples = load_samples(DataConfig(folder=data), cache=cache)
    trainer = ComposedTrainer(options, Surroundings(silo=silo, samples=samples, cache=cache))
    trainer.model = model  # opened once for all silos: it never changes
    return trainer


def _federate(federation: Federation, silos: Sequence[_Silo]) -> Iterator[tuple[bytes, ProjectorSpec, int]]:
    """The bytes of each round's global projector, its spec, and how many bytes of deltas it was made of."""
    made = federation.projector
    assert made is not None  # the demo's federation has one
    initial = build_projector(made.kind, made.options, seed=made.seed).state_dict()
    spec = spec_of(initial)
    projector = b"".join(encode(initial, spec, Encoding.FP32).parts)
    for number in range(1, federation.rounds + 1):
        current = _round(federation, number, projector=projector, spec=spec)
        pushed = [_contribution(silo, current, federation, projector=projector) for silo in silos]
        projector = _combined(federation, spec, projector=projector, pushed=pushed)
        yield projector, spec, sum(len(payload) for payload, _ in pushed)


def _round(federation: Federation, number: int, *, projector: bytes, spec: ProjectorSpec) -> Round:
    return Round(
        federation=federation.name,
        number=number,
        state=FederationState.RUNNING,
        base_digest=hashlib.sha256(projector).digest(),
        base_size_bytes=len(projector),
        spec=spec,
        encoding=federation.encoding,
        plan=plan_of_round(federation, number),
        num_rounds=federation.rounds,
        max_num_examples=federation.admission.max_num_examples,
        error_feedback=federation.feeds_errors_back,
    )


def _contribution(silo: _Silo, current: Round, federation: Federation, *, projector: bytes) -> tuple[bytes, int]:
    """One silo's payload and its weight, once admission let it in."""
    base = decode(bytearray(projector), current.spec)
    result = silo.trainer.train(base, current.plan, round_number=current.number)
    header, payload = silo.feedback.contribution_of(
        current, local=result.tensors, base=base, num_examples=result.num_examples
    )
    data = b"".join(payload.parts)
    inspection = PayloadInspection(header, spec=current.spec, policy=federation.admission)
    inspection.feed(data)
    inspection.finish()
    silo.feedback.settle(header)
    return data, header.num_examples


def _combined(
    federation: Federation, spec: ProjectorSpec, *, projector: bytes, pushed: Sequence[tuple[bytes, int]]
) -> bytes:
    """The next global projector; the demo's server optimizer keeps no state."""
    out = io.BytesIO()
    inputs = RoundInputs(
        spec=spec,
        encoding=federation.encoding,
        projector=_stored(projector),
        state=None,
        deltas=tuple(_stored(payload) for payload, _ in pushed),
        num_examples=tuple(weight for _, weight in pushed),
    )
    aggregate(
        inputs,
        federation.strategy,
        memory_budget_bytes=MEMORY_BUDGET_BYTES,
        projector_out=out,
        state_out=io.BytesIO(),
    )
    return out.getvalue()


def _stored(data: bytes) -> Stored:
    return open_payload(lambda offset_bytes, size_bytes: data[offset_bytes : offset_bytes + size_bytes])


def _write(found: Sequence[Measured], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    document = {"recipe": dataclasses.asdict(SMALLER), "runs": [dataclasses.asdict(one) for one in found]}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


def _ratios(found: Sequence[Measured], arm: str) -> tuple[float, float]:
    """Loss after the last round and bytes, each as a share of float32's with the same seed, averaged over the seeds."""
    whole = {one.seed: one for one in found if one.arm == "fp32"}
    pairs = [(one, whole[one.seed]) for one in found if one.arm == arm and one.seed in whole]
    if not pairs:
        return float("inf"), float("inf")
    return (
        statistics.mean(one.losses[-1] / other.losses[-1] for one, other in pairs),
        statistics.mean(one.pushed_bytes / other.pushed_bytes for one, other in pairs),
    )


def _text(found: Sequence[Measured]) -> str:
    """The table, with what it was made of."""
    arms = list(dict.fromkeys(one.arm for one in found))
    seeds = sorted({one.seed for one in found})
    losses = {(one.arm, one.seed): one.losses[-1] for one in found}
    head = ["encoding", *(f"loss, seed {seed}" for seed in seeds), "loss / fp32's", "bytes / fp32's"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for arm in arms:
        loss, size = _ratios(found, arm)
        lines.append(" | ".join([arm, *(f"{losses[arm, seed]:.4f}" for seed in seeds), f"{loss:.4f}", f"{size:.4f}"]))
    table = "\n".join(f"| {line} |" for line in lines)
    return (
        f"`python -m benchmarks.encodings`: the demo's models and pictures, 4 silos with {SMALLER.concepts_per_silo} "
        f"concepts each, {SMALLER.rounds} rounds; held-out loss after the last one, nats per token, and the ratios' "
        f"means over the seeds. {machine()}.\n\n{table}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
