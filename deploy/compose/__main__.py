"""`python -m deploy.compose prepare | invite | judge`: what docker-compose.yml does once, around the federation.

prepare: fetches models and pictures, gives each silo's volume its pictures, writes the federation's TOML.
invite: creates the federation and puts each silo's invitation into its volume; the silo enrols with it by itself.
judge: measures every global projector on held-out pictures and writes report.json.

Each step may be repeated: what is there already stays.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from deploy.demo.assets import gather, only, unpacked_llm
from deploy.demo.federate import Models
from deploy.demo.fetch import fetch
from deploy.demo.packages import ENCODER
from deploy.demo.pictures import TOPICS, Picture, concepts, lay_out
from deploy.demo.recipe import FEATURES, FEDERATION, Recipe
from isthmus import cli
from isthmus.errors import ConfigInvalid, IsthmusError
from isthmus.federation import parse_federation, plan_of_round

DEMO = Path("/demo")
DOWNLOADS, MODELS, OPERATOR, HELD_OUT, REPORTS = (
    DEMO / name for name in ("downloads", "models", "operator", "held-out", "reports")
)
ENCODER_WEIGHTS, LLM = MODELS / "encoder.pth", MODELS / "llm"
FEDERATION_TOML = OPERATOR / "federation.toml"
HOST = "gate"
"""The one address of all replicas, as docker-compose.yml names it."""
ADDRESS = ["--aggregator", f"{HOST}:8443", "--credentials", str(OPERATOR / "operator.pem")]


def recipe_of(environment: Mapping[str, str]) -> Recipe:
    """The demo's recipe, with the sizes that the environment sets: ISTHMUS_DEMO_ROUNDS, ...

    Raises:
        ConfigInvalid: A size is no number from 1 on; says which.
    """
    own = Recipe()
    return replace(
        own,
        rounds=_size(environment, "rounds", own.rounds),
        concepts_per_silo=_size(environment, "concepts_per_silo", own.concepts_per_silo),
        hidden_features=_size(environment, "hidden_features", own.hidden_features),
    )


def _size(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(variable := f"ISTHMUS_DEMO_{name.upper()}", "") or str(default)
    if not text.isdecimal() or not int(text):
        raise ConfigInvalid(f"{variable} is {text!r}. Give a number from 1 on.")
    return int(text)


def prepare(recipe: Recipe) -> None:
    """Fills the volumes; the federation's TOML comes last and says that all of it is there."""
    if FEDERATION_TOML.exists():
        return
    folders = gather(DOWNLOADS, fetch=fetch, say=_say)
    llm = unpacked_llm(folders, DOWNLOADS, root=Path(__file__).parents[2], say=_say)
    shutil.copytree(llm, LLM, dirs_exist_ok=True)
    shutil.copyfile(only(folders[ENCODER.name], "*.pth"), ENCODER_WEIGHTS)
    for topic in TOPICS:
        shutil.rmtree(_home(topic) / "data", ignore_errors=True)
    collection = lay_out(
        concepts(folders),
        DEMO,
        concepts_per_silo=recipe.concepts_per_silo,
        held_out_per_topic=recipe.held_out_per_topic,
        seed=recipe.seed,
    )
    rows = [[str(picture.path), picture.caption, picture.topic] for picture in collection.held_out]
    (HELD_OUT / "pictures.json").write_text(json.dumps(rows), encoding="utf-8")
    toml = recipe.federation_toml(num_silos=len(TOPICS), widths=(FEATURES, Models(ENCODER_WEIGHTS, LLM).llm_width))
    FEDERATION_TOML.write_text(toml, encoding="utf-8")


def invite(_recipe: Recipe) -> None:
    """Creates the federation and invites its silos."""
    _isthmus("create", str(FEDERATION_TOML), *ADDRESS)
    for topic in TOPICS:
        invitation = _home(topic) / "invitation"
        if not invitation.exists():
            _isthmus("silo", "invite", topic, "--federation", FEDERATION, "--out", str(invitation), *ADDRESS)


def judge(_recipe: Recipe) -> None:
    """Prints the held-out loss of every global projector and writes it down."""
    from safetensors.torch import load_file  # with torch and transformers: seconds that the other steps need not wait

    from deploy.demo.judge import Judge
    from silo_agent.composed import ComposedModel, ComposedOptions

    federation = parse_federation(FEDERATION_TOML.read_text(encoding="utf-8"))
    pictures = [
        Picture(Path(path), caption, topic)
        for path, caption, topic in json.loads((HELD_OUT / "pictures.json").read_text(encoding="utf-8"))
    ]
    model = ComposedModel(ComposedOptions(encoder_weights=ENCODER_WEIGHTS, llm=LLM), cache=HELD_OUT / "cache")
    judged = Judge(model, plan_of_round(federation, 1), pictures, cache=HELD_OUT / "cache")
    losses = []
    for number in range(federation.rounds + 1):
        file = REPORTS / f"projector-{number}.safetensors"
        _isthmus("pull", str(number), "--federation", FEDERATION, "--out", str(file), *ADDRESS)
        losses.append(judged.losses(load_file(file)).all)
        _say(f"global projector {number}: held-out loss per token {losses[-1]:.3f}")
    report = {"federated": {"loss_by_round": losses}, "held_out_pictures": len(pictures)}
    (REPORTS / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


STEPS: dict[str, Callable[[Recipe], None]] = {"prepare": prepare, "invite": invite, "judge": judge}


def main() -> int:
    """Does one step and returns the exit code."""
    if sys.argv[1:] not in [[name] for name in STEPS]:
        print(f"usage: python -m deploy.compose {' | '.join(STEPS)}", file=sys.stderr)
        return 2
    try:
        STEPS[sys.argv[1]](recipe_of(os.environ))
    except (IsthmusError, OSError) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    return 0


def _home(topic: str) -> Path:
    return DEMO / "silos" / topic


def _isthmus(*arguments: str) -> None:
    """Runs a verb of the operator's command line, which says itself what went wrong."""
    code = cli.main(arguments)
    if code:
        raise SystemExit(code)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
