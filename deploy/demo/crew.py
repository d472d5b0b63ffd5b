"""The demo's side of its workers: hands out tasks, the longest first, and collects the answers."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from deploy.demo.processes import ChildFailed, Children
from deploy.demo.tasks import Answer, Setup, Task

Progress = Callable[[str, Task, Answer], None]
"""Told the worker, its task, and how far it is; called from several threads."""


@dataclass(slots=True)
class _Work:
    """What is left to do, what is done, and what went wrong first."""

    tasks: Sequence[Task]
    left: SimpleQueue[int] = field(default_factory=SimpleQueue)
    answers: dict[int, Answer] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)


def do_all(
    tasks: Sequence[Task], *, setup: Setup, children: Children, num_workers: int, told: Progress
) -> list[Answer]:
    """Does all tasks on some worker processes and returns the answers in the order of the tasks.

    Args:
        tasks: Independent of each other; handed out in this order, so long ones should come first.
        setup: What they share.
        children: Where the workers are started and ended; they are called worker-1, worker-2, ...
        num_workers: Processes, of `setup.threads` threads each.
        told: About every progress, and every task that is done.

    Raises:
        ChildFailed: A worker died, or could not do its task; says why.
    """
    work = _Work(tasks)
    for number in range(len(tasks)):
        work.left.put(number)
    names = [f"worker-{number}" for number in range(1, num_workers + 1)]
    threads = [
        threading.Thread(target=_serve, args=(name, work), kwargs={"setup": setup, "children": children, "told": told})
        for name in names
    ]
    for thread in threads:
        thread.daemon = True  # Ctrl-C must not wait for a task to end: the children are ended by their context
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # with a limit, so that Ctrl-C gets through
    if work.failures:
        raise work.failures[0]
    return [work.answers[number] for number in range(len(tasks))]


def _serve(name: str, work: _Work, *, setup: Setup, children: Children, told: Progress) -> None:
    try:
        child = children.start(name, ["deploy.demo.worker"], talks=True)
        assert child.stdin is not None  # nosec B101  # it talks
        child.stdin.write(setup.model_dump_json() + "\n")
        while not work.failures:
            number = work.left.get_nowait()
            child.stdin.write(work.tasks[number].model_dump_json() + "\n")
            child.stdin.flush()
            work.answers[number] = _answer(name, work.tasks[number], children=children, told=told)
    except Empty:
        children.stop(name)
    except (ChildFailed, OSError, ValueError) as error:
        work.failures.append(error)


def _answer(name: str, task: Task, *, children: Children, told: Progress) -> Answer:
    while True:
        answer = Answer.model_validate_json(children.read_line(name))
        if answer.kind == "failed":
            raise ChildFailed(f"{name} could not do {task.kind} of {task.name}: {answer.words}")
        told(name, task, answer)
        if answer.kind == "done":
            return answer
