"""The report's document out of a demo's outcome: every number that the page and report.json show."""

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deploy.demo.federate import Federated
from deploy.demo.packages import Package
from deploy.demo.pictures import HELD_OUT_VENDOR, TRAINING_VENDORS, Collection
from deploy.demo.recipe import FEATURES, Recipe
from deploy.demo.report_values import FEDERATION, POOLED, UNTRAINED, Report, report_of
from deploy.demo.run import Ingredients, Outcome
from deploy.demo.tasks import Loss, Retrieval
from deploy.demo.yardsticks import Course, Measured
from isthmus.evaluation import Summary, summary_in
from isthmus.manifest import ProjectorManifest


def report_from(
    outcome: Outcome, ingredients: Ingredients, recipe: Recipe, *, out: Path, now: datetime, set_up_seconds: float
) -> Report:
    """The report; copies the pictures that it shows into `out`.

    Args:
        outcome: What the demo found out.
        ingredients: What it was made of.
        recipe: How.
        out: The report's folder.
        now: When the demo ended.
        set_up_seconds: Spent on getting models and pictures; not a part of the run.
    """
    measured, collection = outcome.measured, outcome.collection
    return report_of(
        {
            "title": "Four silos, one projector",
            "created_at": now,
            "seed": recipe.seed,
            "rounds": recipe.rounds,
            "seconds": sum(outcome.seconds.values()),
            "seconds_by_phase": {"set-up": set_up_seconds, **outcome.seconds},
            "peak_rss_bytes": outcome.peak_rss_bytes,
            "federated": _course(measured.federated),
            "alone": {silo: _course(course) for silo, course in measured.alone.items()},
            "pooled": _course(measured.pooled),
            "retrieval": _retrieval(measured),
            "matrix": _matrix(measured),
            "captions": _captions(measured, collection, out),
            "lineage": _lineage(outcome.federated.lineage),
            "traffic": _traffic(outcome.federated),
            "silos": {silo: _silo(silo, recipe) for silo in collection.silos},
            "held_out": {
                "num_pictures": len(collection.held_out),
                "description": f"the same things as {HELD_OUT_VENDOR.title} drew them, a vendor that no silo has",
            },
            "models": _models(recipe, llm_width=ingredients.models.llm_width),
            "licences": [_licence(package) for package in ingredients.packages],
        }
    )


def _course(course: Course) -> dict[str, object]:
    return {"loss": course[-1].all, "loss_by_round": [loss.all for loss in course]}


def _hits(retrieval: Retrieval) -> dict[str, float]:
    return {"top1": retrieval.top1, "top5": retrieval.top5}


def _retrieval(measured: Measured) -> dict[str, object]:
    found = measured.federated_retrieval
    return {
        "num_candidates": found.candidates,
        "num_pictures": found.num_pictures,
        "federated": _hits(found),
        "pooled": _hits(measured.pooled_retrieval),
        "chance": {"top1": 1 / found.candidates, "top5": min(5 / found.candidates, 1.0)},
    }


def _matrix(measured: Measured) -> dict[str, object]:
    def row(name: str, loss: Loss) -> dict[str, object]:
        return {"trained_by": name, "loss_by_topic": loss.by_topic}

    rows = [row(UNTRAINED, measured.untrained[-1])]
    rows += [row(silo, course[-1]) for silo, course in measured.alone.items()]
    rows += [row(FEDERATION, measured.federated[-1]), row(POOLED, measured.pooled[-1])]
    return {"topics": list(measured.untrained[-1].by_topic), "rows": rows}


def _captions(measured: Measured, collection: Collection, out: Path) -> list[dict[str, str]]:
    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, before, after in zip(measured.shown, measured.before, measured.after, strict=True):
        picture = collection.held_out[index]
        shutil.copyfile(picture.path, folder / picture.path.name)
        name = f"pictures/{picture.path.name}"
        rows.append(
            {
                "picture": name,
                "truth": picture.caption,
                "before": before,
                "after": after,
                "picked": measured.federated_retrieval.picked[index],
            }
        )
    return rows


def _lineage(manifests: Sequence[ProjectorManifest]) -> list[dict[str, object]]:
    """Every projector, with what the silos of the round after it say of it."""
    told = [summary_in(manifest.metrics) for manifest in manifests[1:]]
    return [_published(manifest, one) for manifest, one in zip(manifests, [*told, None], strict=True)]


def _published(manifest: ProjectorManifest, told: Summary | None) -> dict[str, object]:
    published: dict[str, object] = {"number": manifest.number, "digest": manifest.digest.hex()}
    if told:
        published["told"] = {"median": told.median, "q1": told.q1, "q3": told.q3, "num_pictures": told.num_samples}
    if manifest.number:
        published |= {
            "parent_digest": manifest.parent_digest.hex(),
            "cut_at": manifest.cut_at,
            "rule": manifest.rule,
            "server_optimizer": manifest.server_optimizer,
            "silos": manifest.silos,
            "num_examples": manifest.num_examples,
            "loss": manifest.metrics.get("train_loss"),
        }
    return published


def _traffic(federated: Federated) -> dict[str, object]:
    return {
        silo: {"bytes_up": status["bytes_up"], "bytes_down": status["bytes_down"]}
        for silo, status in federated.statuses.items()
    }


def _silo(silo: str, recipe: Recipe) -> dict[str, object]:
    vendors = " and ".join(vendor.title for vendor in TRAINING_VENDORS)
    return {
        "num_pictures": recipe.concepts_per_silo * len(TRAINING_VENDORS),
        "description": f"{silo}, as {vendors} drew them, each with its name as a caption; about "
        f"{recipe.silo_held_out:.1%} of them held out",
    }


def _models(recipe: Recipe, *, llm_width: int) -> dict[str, str]:
    hidden = recipe.hidden_features
    num_values = FEATURES * hidden + hidden + hidden * llm_width + llm_width
    return {
        "encoder": "EfficientNet-Lite0; one mean feature vector per picture",
        "llm": recipe.llm_name,
        "projector": f"two-layer MLP {FEATURES}-{hidden}-{llm_width}, {num_values:,} values: all that is trained",
    }


def _licence(package: Package) -> dict[str, str]:
    return {
        "name": package.name,
        "version": package.version,
        "what": package.provides,
        "licence": package.licence,
        "source": f"{'PyPI' if package.client == 'pip' else 'npm'}; {package.holder}",
    }
