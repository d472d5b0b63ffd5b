"""An aggregator and a trainer for the agent's tests: the contracts without network and model, all state in a folder."""

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from isthmus.codec import decode
from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.errors import ContributionConflict
from isthmus.federation import FederationState, TrainingPlan
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, TensorSpec
from silo_agent.outbox import Outbox
from silo_agent.privacy_budget import Budget
from silo_agent.status_file import StatusFile
from silo_agent.trainer import Evaluated, LocalResult, Report, Step, Tell, quiet, silent
from tests.plans import PLAN

SPEC = ProjectorSpec((TensorSpec("weight", "F32", (2, 3)),))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class FakeHub:
    """One silo's view of a federation whose rounds close as soon as that silo has contributed.

    Receipts lie in a folder, so that the hub outlives a process that dies.

    Args:
        folder: Of the receipts.
        num_rounds: After these the federation is finished.
    """

    def __init__(self, folder: Path, *, num_rounds: int = 3) -> None:
        self._folder = folder
        self._num_rounds = num_rounds
        self.plan = PLAN
        self.encoding = Encoding.FP32
        """Of deltas; whatever it loses is to be fed back."""
        self.state = FederationState.RUNNING
        self.skipped_rounds = 0
        self.signing_key = b"key"
        self.pushed: list[ContributionHeader] = []
        """The headers of all pushes, in order."""
        self.faults: list[tuple[str, Exception]] = []
        """Raised by the next calls of these names, in order."""

    @property
    def receipts(self) -> dict[int, dict[str, object]]:
        """What was counted, by round."""
        files = sorted(self._folder.glob("*.json"))
        return {int(file.stem): json.loads(file.read_text()) for file in files}

    def round(self, *, after_round: int = 0, wait_seconds: float = 0.0) -> Round:
        """The round after the last receipt."""
        self._fail("round")
        number = len(self.receipts) + 1 + self.skipped_rounds
        finished = number > self._num_rounds
        return Round(
            federation="f",
            number=number,
            state=FederationState.FINISHED if finished else self.state,
            base_digest=hashlib.sha256(str(number).encode()).digest(),
            base_size_bytes=1,
            spec=SPEC,
            encoding=self.encoding,
            error_feedback=True,
            plan=self.plan,
            num_rounds=self._num_rounds,
            max_num_examples=5,
        )

    def pull(self, round: Round, /) -> dict[str, torch.Tensor]:
        """A projector that tells the round."""
        self._fail("pull")
        return {"weight": torch.full((2, 3), float(round.number))}

    def sign(self, header: ContributionHeader, /) -> ContributionHeader:
        """Signed by today's key, with a nonce that no other header has."""
        self._fail("sign")
        if header.signature == self.signing_key:
            return header
        return dataclasses.replace(header, nonce=secrets.token_bytes(16), signature=self.signing_key)

    def push_payload(self, header: ContributionHeader, payload: Path, /) -> Receipt:
        """Counts the delta; the same one again gets the same receipt."""
        self.pushed.append(header)
        self._fail("push_payload")
        content = payload.read_bytes()
        assert hashlib.sha256(content).digest() == header.payload_digest
        document = {
            "digest": header.payload_digest.hex(),
            "delta": decode(content[8 + int.from_bytes(content[:8], "little") :], header.encoding).mean().item(),
            "num_examples": header.num_examples,
            "metrics": header.metrics,
        }
        file = self._folder / f"{header.round}.json"
        if file.exists() and json.loads(file.read_text()) != document:
            raise ContributionConflict("This silo contributed other bytes to this round.")
        self._count(file, document)
        return Receipt(
            "f", header.round, "s", header.payload_digest, len(content), header.num_examples, 1.0, NOW, header.round
        )

    def count_another(self, round_number: int) -> None:
        """Counts other bytes of this silo, as if pushed by another agent with the same credentials."""
        self._count(self._folder / f"{round_number}.json", {"digest": "another"})

    def _count(self, file: Path, document: dict[str, object]) -> None:
        aside = self._folder / "aside"
        aside.write_text(json.dumps(document))
        aside.rename(file)

    def _fail(self, name: str) -> None:
        if self.faults and self.faults[0][0] == name:
            raise self.faults.pop(0)[1]


@dataclasses.dataclass
class FakeTrainer:
    """Adds a quarter to every value; writes down each round it trained, and takes three samples of `num_samples`.

    Args:
        log: A line per training.
        num_samples: After these a one-pass plan has none left.
        num_examples: What it claims to have trained on.
        meanwhile: Called with the round while it trains.
        evaluated: What every projector does on its held-out samples; None: it has none.
    """

    log: Path
    num_samples: int = 1000
    num_examples: int = 3
    meanwhile: Callable[[int], None] = lambda round_number: None
    evaluated: Evaluated | None = None

    @property
    def trained(self) -> list[int]:
        """The rounds trained so far, by any process."""
        return [int(line.split()[0]) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def cursors(self) -> list[str]:
        """Where each of them started."""
        return [line.split(" ")[1] for line in self.log.read_text().splitlines()]

    def require(self, spec: ProjectorSpec, plan: TrainingPlan) -> None:
        """Everything fits."""

    def evaluate(
        self, projector: Mapping[str, torch.Tensor], plan: TrainingPlan, *, tell: Tell = silent
    ) -> Evaluated | None:
        """See `Trainer`: what `evaluated` says."""
        if self.evaluated:
            tell(self.evaluated.num_samples, self.evaluated.num_samples)
        return self.evaluated

    def train(
        self,
        projector: Mapping[str, torch.Tensor],
        plan: TrainingPlan,
        *,
        round_number: int,
        cursor: str = "",
        report: Report = quiet,
    ) -> LocalResult:
        """See `Trainer`."""
        with self.log.open("a") as file:
            file.write(f"{round_number} {cursor} \n")
        start = int(cursor or 0)
        if start >= self.num_samples:
            return LocalResult(dict(projector), 0, cursor=cursor)
        report(Step(1, 1, 0.5))
        self.meanwhile(round_number)
        tensors = {name: tensor + 0.25 for name, tensor in projector.items()}
        return LocalResult(tensors, self.num_examples, {"train_loss": 0.5}, str(start + 3) if plan.one_pass else "")


def silo_parts(folder: Path, *, num_rounds: int = 3) -> tuple[FakeHub, FakeTrainer, Outbox]:
    """A hub, a trainer and an outbox in one folder."""
    (folder / "hub").mkdir(exist_ok=True)
    return (
        FakeHub(folder / "hub", num_rounds=num_rounds),
        FakeTrainer(folder / "trained.txt"),
        Outbox(folder / "outbox"),
    )


def budget_in(folder: Path) -> Budget:
    """What a silo of eight samples has spent, there."""
    return Budget(folder / "privacy.json", num_samples=8)


def status_in(folder: Path) -> StatusFile:
    """A status file there, under a clock that stands still."""
    return StatusFile(folder / "status.json", now=lambda: NOW)
