"""An agent as `python -m silo_agent run` runs it, with a trainer whose result is known, and a diary for the checks."""

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pydantic import BaseModel

import silo_agent.__main__
import silo_agent.parquet  # noqa: F401 - imported before the fork what an agent would import
from isthmus.client import SiloClient
from isthmus.federation import TrainingPlan
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

NUM_EXAMPLES = {"north": 3, "east": 5, "south": 7}
"""Of each silo, all different, so that a weight that went astray changes the projector."""

WATCHED = ("silo_agent/agent.py", "silo_agent/outbox.py", "isthmus/feedback.py", "isthmus/durable.py")
"""Every line of these is a point."""


class ChaosOptions(BaseModel):
    """None."""


class ChaosTrainer:
    """Arithmetic in place of training: what comes out follows from what came in, the silo and the round.

    Args:
        silo: Whose.
    """

    def __init__(self, silo: str) -> None:
        self._silo = silo

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
        tensors = {}
        for name, tensor in projector.items():
            own = values(f"{self._silo}-{round_number}-{name}", tensor.numel(), scale=0.25)
            tensors[name] = tensor * 0.75 + torch.from_numpy(own).reshape(tensor.shape)
        return LocalResult(tensors, NUM_EXAMPLES[self._silo], {"train_loss": 1.0 / round_number})


def _build(options: ChaosOptions, surroundings: Surroundings) -> ChaosTrainer:
    return ChaosTrainer(surroundings.silo)


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
        task: "config", "orders" (a folder) and "diary" (a file).
    """
    points, diary = Points(Orders(Path(task["orders"])), "silo"), Diary(Path(task["diary"]))

    def between(owner: type, method: str, *, step: str, note: Callable[..., None] = lambda *_: None) -> None:
        real = getattr(owner, method)

        @wraps(real)
        def around(*arguments: Any, **options: Any) -> Any:
            def work() -> object:
                result = real(*arguments, **options)
                note(result, *arguments[1:])
                return result

            return points.around(step, work)

        setattr(owner, method, around)

    between(SiloClient, "round", step="round")
    between(SiloClient, "pull", step="pull")
    between(ChaosTrainer, "train", step="train")
    between(Outbox, "put", step="keep", note=lambda _, header, *__: diary.write("kept", header.round))
    between(
        SiloClient,
        "push_payload",
        step="push",
        note=lambda receipt, *_: diary.write("receipt", receipt.round, receipt.payload_digest.hex()),
    )
    between(Outbox, "settle", step="settle")
    _note_trainings(diary)
    _watch_lines(points)
    return silo_agent.__main__.main(["run", "--config", task["config"]])


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
