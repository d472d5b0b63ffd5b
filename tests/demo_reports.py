"""A sample of the demo's report, with numbers like those of a real one, and tiny pictures for it."""

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SILOS = ("animals", "food", "people", "places")
UNTRAINED = 7.92

# The last held-out loss of each projector on each silo's topic.
LOSSES = {
    "untrained": (7.81, 7.95, 7.74, 8.18),
    "animals": (2.71, 4.92, 4.61, 5.13),
    "food": (4.52, 2.83, 4.97, 4.88),
    "people": (4.38, 5.02, 2.64, 4.79),
    "places": (4.81, 4.69, 4.55, 2.98),
    "federation": (2.98, 2.95, 3.07, 3.21),
    "pooled": (2.47, 2.55, 2.61, 2.73),
}

CAPTIONS = (
    ("a red fox face", "I am a man who is a man who is", "a fox face", "#d96b2b"),
    ("a slice of pizza with olives", "The The The The", "a slice of pizza", "#e2b33c"),
    ("a woman in a lab coat", "I am a man who is a man", "a woman scientist", "#7d5ba6"),
    ("a snow-capped mountain", "", "a mountain with snow on its top", "#5b8fa6"),
)


def course(trained_by: str) -> dict[str, Any]:
    """A course of training over four rounds that ends where the matrix says."""
    last = sum(LOSSES[trained_by]) / len(SILOS)
    left = (0.42, 0.17, 0.06, 0.0)
    return {"loss": last, "loss_by_round": [UNTRAINED, *(last + share * (UNTRAINED - last) for share in left)]}


def hits(top1: float, top5: float) -> dict[str, float]:
    """Shares of retrieval."""
    return {"top1": top1, "top5": top5}


def published(number: int) -> dict[str, Any]:
    """One global projector of the lineage."""
    first = number == 0
    return {
        "number": number,
        "digest": f"{number + 10:02x}" * 32,
        "parent_digest": None if first else f"{number + 9:02x}" * 32,
        "cut_at": None if first else f"2026-03-01T20:5{number}:07Z",
        "rule": None if first else "mean",
        "server_optimizer": None if first else "nesterov",
        "silos": [] if first else list(SILOS),
        "num_examples": None if first else 1920,
        "loss": None if first else 4.1 - 0.35 * number,
        "told": None
        if number == 4
        else {"median": 6.9 - number, "q1": 6.71 - number, "q3": 7.23 - number, "num_pictures": 32},
    }


def retrieval() -> dict[str, Any]:
    """Retrieval among 200 captions."""
    return {
        "num_candidates": 200,
        "num_pictures": 200,
        "federated": hits(0.235, 0.52),
        "pooled": hits(0.31, 0.615),
        "chance": hits(0.005, 0.025),
    }


def matrix() -> dict[str, Any]:
    """Who trained x whose topic."""
    rows = [
        {"trained_by": name, "loss_by_topic": dict(zip(SILOS, losses, strict=True))} for name, losses in LOSSES.items()
    ]
    return {"topics": list(SILOS), "rows": rows}


def licence(name: str, what: str, source: str) -> dict[str, str]:
    """The terms of one thing that the demo got."""
    return {"name": name, "version": "1.0", "what": what, "licence": "Apache-2.0", "source": source}


def sample_report() -> dict[str, Any]:
    """A whole report: four silos, four rounds, and a federation that beats each silo alone, but not at home."""
    silo_memory = {f"silo {silo}": 731_000_000 + 9_000_000 * place for place, silo in enumerate(SILOS)}
    return {
        "title": "Isthmus demo",
        "created_at": "2026-03-01T20:53:11Z",
        "seed": 7,
        "rounds": 4,
        "seconds": 214.6,
        "seconds_by_phase": {
            "pictures and features": 21.4,
            "federation": 118.2,
            "alone and pooled": 52.7,
            "report": 6.3,
        },
        "peak_rss_bytes": {"aggregator": 141_557_760, **silo_memory, "evaluation": 912_680_550},
        "federated": course("federation"),
        "alone": {silo: course(silo) for silo in SILOS},
        "pooled": course("pooled"),
        "retrieval": retrieval(),
        "matrix": matrix(),
        "captions": [
            {"picture": f"captions/{place:02}.png", "truth": truth, "before": before, "after": after, "picked": truth}
            for place, (truth, before, after, _) in enumerate(CAPTIONS)
        ],
        "lineage": [published(number) for number in range(5)],
        "traffic": {silo: {"bytes_up": 8_912_896, "bytes_down": 22_282_240} for silo in SILOS},
        "silos": {silo: {"num_pictures": 480, "description": f"{silo}, as two vendors draw them"} for silo in SILOS},
        "held_out": {"num_pictures": 200, "description": "emoji as a third vendor draws them"},
        "models": {"encoder": "EfficientNet-Lite0", "llm": "SmolLM2-135M", "projector": "two-layer MLP with GELU"},
        "licences": [
            licence("SmolLM2-135M", "the frozen LLM", "https://example.org/some/long/path/to/a/model-that-has-a-name"),
            licence("emoji", "pictures", "the package emoji"),
        ],
    }


def losing_report() -> dict[str, Any]:
    """The sample with a federation that ends worse than every silo alone."""
    return sample_report() | {"federated": {"loss": 5.25, "loss_by_round": [UNTRAINED, 6.4, 5.8, 5.5, 5.25]}}


def draw_pictures(folder: Path) -> None:
    """Draws the pictures that the sample's captions name."""
    (folder / "captions").mkdir(parents=True, exist_ok=True)
    for place, (*_, colour) in enumerate(CAPTIONS):
        picture = Image.new("RGB", (72, 72), "white")
        ImageDraw.Draw(picture).ellipse((8, 8 + 3 * place, 64, 64), fill=colour, outline="black", width=2)
        picture.save(folder / "captions" / f"{place:02}.png")
