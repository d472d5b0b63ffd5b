"""Error feedback: nothing is lost for good, each loss is added once, and only what was counted has one."""

import dataclasses
from pathlib import Path

import pytest
import torch

from isthmus.contribution import READABLE, ContributionHeader, Encoding
from isthmus.errors import ConfigInvalid, DeltaNotFinite
from isthmus.feedback import ErrorFeedback
from isthmus.round import Round
from isthmus.spec import spec_of
from isthmus.tensors import Payload, contribution_of, decode_delta
from tests.rosters import values
from tests.unit.test_tensors import open_round

BASE = {"bias": torch.ones(7), "weight": torch.ones(30, 50)}
SPEC = spec_of(BASE)
LOSSY = [encoding for encoding in READABLE if encoding is not Encoding.FP32]

Made = tuple[ContributionHeader, Payload]


def trained(number: int) -> dict[str, torch.Tensor]:
    """The projector after some training; other values for every number."""
    return {
        name: tensor + torch.from_numpy(values(f"{number} {name}", tensor.numel(), scale=0.1)).reshape(tensor.shape)
        for name, tensor in BASE.items()
    }


def round_of(number: int, encoding: Encoding = Encoding.INT8, *, error_feedback: bool = True) -> Round:
    """A round of these tensors."""
    return dataclasses.replace(
        open_round(encoding), number=number, spec=SPEC, num_rounds=99, error_feedback=error_feedback
    )


def made(feedback: ErrorFeedback, number: int, encoding: Encoding = Encoding.INT8) -> Made:
    """What a silo would push in this round."""
    return feedback.contribution_of(round_of(number, encoding), local=trained(number), base=BASE, num_examples=1)


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """All values, float64."""
    return torch.cat([tensors[name].double().reshape(-1) for name in sorted(tensors)])


def sent(one: Made, encoding: Encoding = Encoding.INT8) -> torch.Tensor:
    """All values that the aggregator sees."""
    return flat(decode_delta(one[1], SPEC, encoding))


@pytest.mark.parametrize("encoding", LOSSY)
def test_nothing_is_lost_over_many_rounds(tmp_path: Path, encoding: Encoding) -> None:
    """What arrived and what is still kept are together all deltas, in every encoding; without feedback they are not."""
    feedback = ErrorFeedback(tmp_path)
    arrived = alone = whole = torch.zeros(SPEC.num_elements, dtype=torch.float64)
    for number in range(1, 16):
        header, payload = made(feedback, number, encoding)
        feedback.settle(header)
        arrived = arrived + sent((header, payload), encoding)
        plain = contribution_of(round_of(number, encoding), local=trained(number), base=BASE, num_examples=1)
        alone = alone + sent(plain, encoding)
        whole = whole + flat({name: tensor - BASE[name] for name, tensor in trained(number).items()})

    kept = flat(feedback.lost(SPEC))

    assert torch.allclose(arrived + kept, whole, rtol=0, atol=1e-6)
    assert (arrived - whole).norm() < 0.5 * (alone - whole).norm()


def test_loss_counts_once_its_delta_does(tmp_path: Path) -> None:
    """A delta that is never settled leaves what was lost before as it was; the next one is as if it had not been."""
    feedback = ErrorFeedback(tmp_path)
    feedback.settle(made(feedback, 1)[0])
    before = flat(feedback.lost(SPEC))
    made(feedback, 2)
    feedback.recover(lambda number, digest: False)

    again = made(ErrorFeedback(tmp_path), 3)

    assert torch.equal(before, flat(feedback.lost(SPEC)))
    assert torch.allclose(sent(again), before + flat({n: t - BASE[n] for n, t in trained(3).items()}), atol=1e-3)


def test_settling_twice_is_settling_once(tmp_path: Path) -> None:
    """A receipt that comes again, after a death between it and the outbox, changes nothing."""
    feedback = ErrorFeedback(tmp_path)
    header, _ = made(feedback, 1)
    feedback.settle(header)
    once = (tmp_path / "lost.safetensors").read_bytes()
    ErrorFeedback(tmp_path).settle(header)

    assert [tmp_path / "lost.safetensors"] == list(tmp_path.iterdir())
    assert once == (tmp_path / "lost.safetensors").read_bytes()


def test_what_was_counted_behind_our_back_is_found(tmp_path: Path) -> None:
    """After a death between counting and settling, the one whose digest was counted is settled, and others go."""
    feedback = ErrorFeedback(tmp_path)
    first, _ = made(feedback, 4)
    other = feedback.contribution_of(round_of(4), local=trained(5), base=BASE, num_examples=1)[0]
    asked = []

    def is_counted(number: int, digest: bytes) -> bool:
        asked.append((number, digest))
        return digest == first.payload_digest

    ErrorFeedback(tmp_path).recover(is_counted, but_round=4)
    assert (asked, len(list(tmp_path.iterdir()))) == ([], 2)
    ErrorFeedback(tmp_path).recover(is_counted)

    assert {(4, first.payload_digest), (4, other.payload_digest)} == set(asked)
    assert [tmp_path / "lost.safetensors"] == list(tmp_path.iterdir())
    assert 0.0 < float(flat(feedback.lost(SPEC)).norm()) < 0.1


def test_same_training_gives_the_same_push(tmp_path: Path) -> None:
    """Who trains and encodes a round again, before it is counted, has the same bytes: the push just goes on."""
    feedback = ErrorFeedback(tmp_path)
    feedback.settle(made(feedback, 1)[0])

    assert made(feedback, 2)[0] == made(ErrorFeedback(tmp_path), 2)[0]


@pytest.mark.parametrize(
    "current",
    [round_of(1, Encoding.FP32), round_of(1, Encoding.INT8, error_feedback=False)],
    ids=["nothing is lost", "the federation asks for none"],
)
def test_no_feedback_costs_nothing(tmp_path: Path, current: Round) -> None:
    """Where nothing is lost or asked for, the delta is as without feedback, and not even the folder is made."""
    feedback = ErrorFeedback(tmp_path / "feedback")
    header, _ = feedback.contribution_of(current, local=trained(1), base=BASE, num_examples=1)
    feedback.settle(header)
    feedback.recover(lambda number, digest: True)

    assert header == contribution_of(current, local=trained(1), base=BASE, num_examples=1)[0]
    assert not (tmp_path / "feedback").exists()


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, None], ids=["empty", "not safetensors", "not finite"])
def test_damaged_loss_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A file that cannot be used is an error with its name and what to do, never a delta of whatever it holds."""
    feedback = ErrorFeedback(tmp_path)
    feedback.settle(made(feedback, 1)[0])
    file = tmp_path / "lost.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\xc0\x7f" if content is None else content)

    with pytest.raises(ConfigInvalid, match="Move it away") as caught:
        made(feedback, 2)

    assert str(file) in str(caught.value)


def test_loss_of_another_projector_is_not_added(tmp_path: Path) -> None:
    """What was lost under another spec is named, not bent into shape."""
    feedback = ErrorFeedback(tmp_path)
    feedback.settle(made(feedback, 1)[0])
    other = {"weight": torch.ones(3)}
    current = dataclasses.replace(round_of(2), spec=spec_of(other))

    with pytest.raises(ConfigInvalid, match="Move it away"):
        feedback.contribution_of(current, local={"weight": torch.ones(3) * 2}, base=other, num_examples=1)


def test_folder_that_cannot_be_written_stops_the_push(tmp_path: Path) -> None:
    """Without a place for what would be lost there is an error before anything could be pushed."""
    (tmp_path / "feedback").symlink_to(tmp_path / "gone" / "away")

    with pytest.raises(ConfigInvalid, match="nothing was pushed"):
        made(ErrorFeedback(tmp_path / "feedback"), 1)


def test_delta_beyond_the_encoding_leaves_no_trace(tmp_path: Path) -> None:
    """A delta that fp16 cannot hold is refused, and what was lost before stands."""
    feedback = ErrorFeedback(tmp_path)
    local = {**BASE, "bias": torch.full((7,), 1e6)}

    with pytest.raises(DeltaNotFinite):
        feedback.contribution_of(round_of(1, Encoding.FP16), local=local, base=BASE, num_examples=1)

    assert [] == list(tmp_path.iterdir())
