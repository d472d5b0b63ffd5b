"""What a silo believes: the lineage goes on from what it saw, or it is refused; and it survives the process."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from isthmus.contribution import Encoding
from isthmus.errors import AggregatorUntrusted, ConfigInvalid
from isthmus.federation import FederationState
from isthmus.manifest import ProjectorManifest
from isthmus.round import Round
from isthmus.spec import ProjectorSpec, TensorSpec
from isthmus.tensors import encode
from silo_agent.believed import Believed
from silo_agent.policy import Policy
from tests.plans import PLAN

SPEC = ProjectorSpec((TensorSpec("weight", "F32", (2, 3)),))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def projector(number: int) -> dict[str, torch.Tensor]:
    """Each lies sqrt(6) from the one before."""
    return {"weight": torch.full((2, 3), float(number))}


def digest(number: int) -> bytes:
    """Of a projector's bytes."""
    return hashlib.sha256(b"".join(encode(projector(number), SPEC, Encoding.FP32).parts)).digest()


def manifest(number: int) -> ProjectorManifest:
    """The honest one."""
    return ProjectorManifest(number, digest(number), 1, NOW, parent_digest=digest(number - 1))


def round_at(number: int) -> Round:
    """The round that starts from projector number - 1."""
    state, fp32 = FederationState.RUNNING, Encoding.FP32
    return Round("f", number, state, digest(number - 1), 1, SPEC, fp32, PLAN, 99, 5, quorum=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of a silo that saw projector 1."""
    fresh = Believed(tmp_path / "believed", Policy())
    fresh.judge(round_at(2), manifest)
    fresh.accept(round_at(2), projector(1))
    return tmp_path / "believed"


def test_lineage_goes_on_after_a_restart(folder: Path) -> None:
    """The same projector, the next, and one far behind it are believed; one projector is kept."""
    for number in (2, 3, 9):
        believed = Believed(folder, Policy())
        believed.judge(round_at(number), manifest)
        believed.accept(round_at(number), projector(number - 1))

    assert ["8-"] == [file.name[:2] for file in folder.glob("*.safetensors")]


@pytest.mark.parametrize(
    ("current", "bent", "check"),
    [
        (round_at(1), {}, "round"),
        (replace(round_at(4), spec=ProjectorSpec((TensorSpec("bias", "F32", (6,)),))), {}, "spec"),
        (round_at(4), {"parent_digest": bytes(32)}, "parent"),
        (round_at(4), {"number": 7}, "number"),
        (round_at(4), {"digest": bytes(32)}, "parent"),
        (replace(round_at(4), base_digest=bytes(32)), {}, "digest"),
        (replace(round_at(2), base_digest=bytes(32)), {}, "digest"),
        (round_at(10_003), {}, "rounds"),
    ],
)
def test_whatever_does_not_go_on_is_refused(folder: Path, current: Round, bent: dict[str, object], check: str) -> None:
    """Each break is named with the measured value, the limit and the folder to move away, and changes nothing."""
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def bent_at_2(number: int) -> ProjectorManifest:
        return replace(manifest(number), **bent) if number == 2 else manifest(number)  # type: ignore[arg-type]

    with pytest.raises(AggregatorUntrusted, match=r"move .*believed away") as caught:
        Believed(folder, Policy()).judge(current, bent_at_2)

    assert check == caught.value.details["check"]
    assert caught.value.details["measured"] != caught.value.details["limit"]
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_policy_limits_quorum_and_change(folder: Path) -> None:
    """A small quorum and a jump are refused at their limits: per round that was missed."""
    with pytest.raises(AggregatorUntrusted, match=r"policy\.min_quorum is 4"):
        Believed(folder, Policy(min_quorum=4)).judge(round_at(2), manifest)
    Believed(folder, Policy(min_quorum=3)).judge(round_at(2), manifest)

    with pytest.raises(AggregatorUntrusted, match=r"lies 4\.89898 .* allows 2\.4 a round"):
        Believed(folder, Policy(max_change=2.4)).accept(round_at(4), projector(3))
    Believed(folder, Policy(max_change=2.5)).accept(round_at(4), projector(3))


def test_damaged_folder_is_told(folder: Path) -> None:
    """A projector or a lineage that was changed in the folder is one sentence."""
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(b"other")
    with pytest.raises(ConfigInvalid, match=r"was changed or is damaged\. Move .* away"):
        Believed(folder, Policy()).accept(round_at(3), projector(2))
    damages = ("{}", "7", '{"number": "1", "digest": "a", "spec": "b"}', '{"number": 1, "digest": 2, "spec": "b"}')
    for damaged in damages:
        (folder / "lineage.json").write_text(damaged)
        with pytest.raises(ConfigInvalid, match="cannot be read"):
            Believed(folder, Policy())


def test_what_a_death_left_half_written_goes(folder: Path) -> None:
    """Parts of projectors do not pile up, however often the agent dies while it writes one."""
    (folder / ".2-abcd.safetensors.17.part").write_bytes(b"half")

    Believed(folder, Policy())

    assert [] == list(folder.glob(".*"))
