"""`python -m deploy.demo.worker`: a process that trains and judges projectors for the demo, task by task.

Reads `tasks.Setup`, then tasks, from standard input; writes `tasks.Answer`s to standard output, one JSON object a line.
It ends with its input, so it never outlives the demo.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from deploy.demo.baselines import train_without_federation
from deploy.demo.judge import Judge
from deploy.demo.tasks import Answer, Describe, Loss, Measure, Retrieval, Setup, Task, Train
from isthmus.errors import IsthmusError
from isthmus.federation import parse_federation, plan_of_round
from silo_agent.composed import ComposedModel, ComposedOptions
from silo_agent.status_file import peak_rss_bytes
from silo_agent.trainer import Step

Say = Callable[[Answer], None]
TASKS: TypeAdapter[Task] = TypeAdapter(Task)


class Bench:
    """The frozen model, opened once, and the tasks that are done with it."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._federation = parse_federation(setup.federation.read_text(encoding="utf-8"))
        self._options = ComposedOptions(encoder_weights=setup.encoder_weights, llm=setup.llm)
        model = ComposedModel(self._options, cache=setup.cache)
        self._judge = Judge(model, plan_of_round(self._federation, 1), setup.held_out, cache=setup.cache)

    def do(self, task: Task, say: Say) -> Answer:
        """The task's answer; `say` is told how far a long one is."""
        match task:
            case Train():
                return self._train(task, say)
            case Measure():
                projector = load_file(task.projector)
                retrieval = self._retrieval(projector) if task.retrieval else None
                return Answer(kind="done", losses=(self._judge.losses(projector),), retrieval=retrieval)
            case Describe():
                texts = self._judge.captions(load_file(task.projector), task.indices, max_tokens=task.max_tokens)
                return Answer(kind="done", captions=tuple(texts))

    def _train(self, task: Train, say: Say) -> Answer:
        losses: list[Loss] = []

        def on_step(number: int, step: Step) -> None:
            say(Answer(kind="progress", words=f"round {number}, step {step.number} of {step.num_steps}"))

        trained = train_without_federation(
            task.name,
            task.data,
            held_out=self._setup.silo_held_out,
            options=self._options,
            federation=self._federation,
            initial=load_file(task.initial),
            cache=task.cache,
            on_round=lambda number, projector: losses.append(self._judge.losses(projector)),
            on_step=on_step,
        )
        retrieval = self._retrieval(trained) if task.retrieval else None
        return Answer(kind="done", losses=tuple(losses), retrieval=retrieval)

    def _retrieval(self, projector: Mapping[str, torch.Tensor]) -> Retrieval:
        setup = self._setup
        return self._judge.retrieval(
            projector, per_topic=setup.retrieval_per_topic, candidates=setup.candidates, seed=setup.seed
        )


def serve(source: TextIO, out: TextIO) -> None:
    """Does every task that comes in, until the input ends; a task that cannot be done is answered so."""

    def say(answer: Answer) -> None:
        out.write(answer.model_dump_json() + "\n")
        out.flush()

    setup = Setup.model_validate_json(source.readline())
    torch.set_num_threads(setup.threads)
    bench: Bench | None = None
    for line in source:
        started = time.monotonic()
        try:
            bench = bench or Bench(setup)
            answer = bench.do(TASKS.validate_json(line), say)
        except IsthmusError as error:
            answer = Answer(kind="failed", words=str(error))
        seconds = time.monotonic() - started
        say(answer.model_copy(update={"seconds": seconds, "peak_rss_bytes": peak_rss_bytes()}))


def main() -> None:
    """Serves the demo that started this process."""
    # Ctrl-C reaches the whole terminal group; the demo itself decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not stand among the answers
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
