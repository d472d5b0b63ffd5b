"""An agent as `python -m silo_agent run` runs it, with a trainer whose result is known, and a diary for the checks."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

import silo_agent.__main__
import silo_agent.parquet  # noqa: F401 - imported before the fork what an agent would import
from isthmus.client import SiloClient
from isthmus.codec import F32
from isthmus.contribution import ContributionHeader
from isthmus.federation import TrainingPlan
from isthmus.round import Round
from isthmus.secure_aggregation.calls import MaskingCalls
from isthmus.secure_aggregation.session import MaskedRounds
from isthmus.secure_aggregation.state import Secrets, SecretsFolder
from isthmus.spec import ProjectorSpec
from silo_agent.outbox import Outbox
from silo_agent.trainer import (
    TRAINERS,
    Evaluated,
    LocalResult,
    Report,
    Step,
    Surroundings,
    Tell,
    TrainerEntry,
    quiet,
    silent,
)
from tests.chaos.orders import Orders
from tests.chaos.points import LINE, Points
from tests.rosters import values

NUM_EXAMPLES = {"north": 3, "east": 5, "south": 7, "west": 9}
"""Of each silo, all different, so that a weight that went astray changes the projector."""

WATCHED = (
    *("silo_agent/agent.py", "silo_agent/outbox.py", "isthmus/feedback.py", "isthmus/durable.py"),
    *("isthmus/secure_aggregation/session.py", "isthmus/secure_aggregation/state.py"),
)
"""Every line of these is a point."""


class ChaosOptions(BaseModel):
    """Its settings."""

    fresh: bool = False
    """Whether a training that is repeated gives something else."""


class ChaosTrainer:
    """Arithmetic in place of training: what comes out follows from what came in, the silo and the round.

    Args:
        silo: Whose.
        fresh: See `ChaosOptions`.
    """

    def __init__(self, silo: str, *, fresh: bool) -> None:
        self._silo = silo
        self._fresh = fresh

    def require(self, spec: ProjectorSpec, plan: TrainingPlan) -> None:
        """Everything fits."""

    def evaluate(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, tell: Tell = silent
    ) -> Evaluated | None:
        """Nothing is held out."""
        return None

    def train(
        self,
        projector: Mapping[str, torch.Tensor],
        plan: TrainingPlan,
        *,
        round_number: int,
        cursor: str = "",
        report: Report = quiet,
    ) -> LocalResult:
        """See `Trainer`: three quarters of every value, and something of the silo's own."""
        report(Step(1, 1, 0.5))
        tensors, chance = {}, os.urandom(8).hex() if self._fresh else ""
        for name, tensor in projector.items():
            own = values(f"{self._silo}-{round_number}-{name}{chance}", tensor.numel(), scale=0.25)
            tensors[name] = tensor * 0.75 + torch.from_numpy(own).reshape(tensor.shape)
        return LocalResult(tensors, NUM_EXAMPLES[self._silo], {"train_loss": 1.0 / round_number})


def _build(options: ChaosOptions, surroundings: Surroundings) -> ChaosTrainer:
    return ChaosTrainer(surroundings.silo, fresh=options.fresh)


TRAINERS["chaos"] = lambda: TrainerEntry(ChaosOptions, _build)


class Diary:
    """What the agent did, line by line, in a file that survives it.

    Args:
        file: Appended to.
    """

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *words: object) -> None:
        """Adds one line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


def run_silo(task: Mapping[str, Any]) -> int:
    """Takes part until the federation is finished; the exit code.

    Args:
        task: "config", "orders" (a folder), "diary" (a file) and "deltas" (a folder).
    """
    points, diary = Points(Orders(Path(task["orders"])), "silo"), Diary(Path(task["diary"]))
    between = partial(_between, points)
    between(SiloClient, "round", step="round")
    between(SiloClient, "pull", step="pull")
    between(ChaosTrainer, "train", step="train")
    between(Outbox, "put", step="keep", note=lambda _, header, *__, **___: diary.write("kept", header.round))
    between(
        SiloClient,
        "push_payload",
        step="push",
        first=lambda header, *_: diary.write("sending", header.round, header.payload_digest.hex()),
        note=lambda receipt, *_: diary.write("receipt", receipt.round, receipt.payload_digest.hex()),
    )
    between(Outbox, "settle", step="settle")
    _watch_masks(between, diary, Path(task["deltas"]))
    _note_trainings(diary)
    _watch_lines(points)
    return silo_agent.__main__.main(["run", "--config", task["config"]])


def _between(
    points: Points,
    owner: type,
    method: str,
    *,
    step: str,
    first: Callable[..., None] = lambda *_, **__: None,
    note: Callable[..., None] = lambda *_, **__: None,
) -> None:
    """Puts a method of the product between two points; `first` is told its arguments, `note` its result as well."""
    real = getattr(owner, method)

    @wraps(real)
    def around(*arguments: Any, **options: Any) -> Any:
        def work() -> object:
            first(*arguments[1:], **options)
            result = real(*arguments, **options)
            note(result, *arguments[1:], **options)
            return result

        return points.around(step, work)

    setattr(owner, method, around)


def _watch_masks(between: Callable[..., None], diary: Diary, deltas: Path) -> None:
    """What a silo does where deltas are masked, and what it masked."""
    deltas.mkdir(exist_ok=True)

    def keep(made: tuple[ContributionHeader, object], current: Round, delta: Mapping[str, F32], **_: object) -> None:
        flat = np.concatenate([delta[tensor.name].reshape(-1) for tensor in current.spec.tensors])
        (deltas / made[0].payload_digest.hex()).write_bytes(flat.astype("<f4").tobytes())

    def revealing(kept: Secrets, *, round_number: int, **_: object) -> None:
        diary.write("revealing", round_number, kept.transcript)

    between(SecretsFolder, "begin", step="begin")
    between(MaskingCalls, "offer_key", step="offer")
    between(MaskingCalls, "key_roster", step="roster")
    between(MaskedRounds, "mask", step="mask", note=keep)
    between(SecretsFolder, "release", step="release")
    between(SecretsFolder, "note_reveal", step="note-reveal")
    between(MaskingCalls, "reveal_seed", step="reveal", first=revealing)


def _note_trainings(diary: Diary) -> None:
    real = ChaosTrainer.train

    @wraps(real)
    def noted(*arguments: Any, **options: Any) -> LocalResult:
        diary.write("training", options["round_number"])
        return real(*arguments, **options)

    ChaosTrainer.train = noted  # type: ignore[method-assign]


def _watch_lines(points: Points) -> None:
    def at_each_line(frame: FrameType, event: str, argument: object) -> object:
        if event == "line":
            points.reach(LINE)
        return at_each_line

    def at_each_call(frame: FrameType, event: str, argument: object) -> object:
        return at_each_line if frame.f_code.co_filename.endswith(WATCHED) else None

    sys.settrace(at_each_call)
