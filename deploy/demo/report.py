"""Writes the demo's report: the numbers as JSON, the figures as PNGs, and one self-contained page of HTML.

The page loads nothing: its style stands in it, its pictures are inlined, it has no script, and its
Content-Security-Policy holds the browser to that. Everything that came from data or a model is escaped.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploy.demo import findings
from deploy.demo.plots import LOOKS, PLOTS, row_name
from deploy.demo.report_values import Report, report_of
from isthmus.durable import write_durably
from isthmus.errors import InvariantBroken

TEMPLATE = "report.html.j2"
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MAX_EXPONENT = 100.0  # a projector this bad has no perplexity worth printing; keeps exp finite


# Any: a document of report.json's layout, judged by report_of.
def write_report(report: Report | Mapping[str, Any], folder: Path) -> Path:
    """Writes report.json, the figures and, last, report.html into the folder; each file is whole or as it was.

    Args:
        report: What the demo found out, as a value or as a document of report.json's layout.
        folder: Where the report goes; it already holds the pictures that `captions` names.

    Returns:
        The path of report.html.

    Raises:
        InvariantBroken: The document is not a report, or names a picture that is not a picture in the folder.
        OSError: The folder cannot be written.
    """
    found = report if isinstance(report, Report) else report_of(report)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [inlined(folder, caption.picture) for caption in found.captions]
    figures = {file_name(plot, look): PLOTS[plot](found, LOOKS[look]) for plot in PLOTS for look in LOOKS}
    page = render(found, figures, pictures)
    for name, content in figures.items():
        write_durably(folder / name, [content])
    write_durably(folder / "report.json", [found.model_dump_json(indent=2).encode() + b"\n"])
    html = folder / "report.html"
    write_durably(html, [page.encode()])
    return html


def file_name(plot: str, look: str) -> str:
    """The name of a figure's file; the light look goes without saying."""
    return f"{plot}.png" if look == "light" else f"{plot}-{look}.png"


def render(report: Report, figures: Mapping[str, bytes], pictures: Sequence[str]) -> str:
    """The page as text.

    Args:
        report: The numbers.
        figures: PNGs by file name, one for every plot and look.
        pictures: The pictures of `captions`, in their order, as data URLs.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": size,
        "duration": duration,
        "percent": findings.percent,
        "short": lambda digest: digest.removeprefix("sha256:")[:12],
        "words": findings.caption_words,
    }
    return environment.get_template(TEMPLATE).render(
        report=report,
        standing=findings.standing(report),
        claim=findings.claim(report),
        matrix_sentence=findings.matrix_sentence(report),
        retrieval_sentence=findings.retrieval_sentence(report),
        captions_sentence=findings.captions_sentence(report),
        perplexity=math.exp(min(report.federated.loss, MAX_EXPONENT)),
        size=size,
        duration=duration,
        row_name=lambda trained_by: row_name(trained_by, report),
        figures={name: data_url(content, "image/png") for name, content in figures.items()},
        pictures=pictures,
    )


def inlined(folder: Path, picture: str) -> str:
    """A picture of the report's folder as a data URL.

    Raises:
        InvariantBroken: The path leads out of the folder, names no file, or is not a picture by its suffix.
    """
    file = (folder / picture).resolve()
    media_type = MEDIA_TYPES.get(file.suffix.lower())
    if media_type is None or not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise InvariantBroken(f"The demo's report names {picture!r}, which is not a picture in the report's folder.")
    return data_url(file.read_bytes(), media_type)


def data_url(content: bytes, media_type: str) -> str:
    """Bytes as a URL that holds them."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def size(num_bytes: int) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    amount, unit = float(num_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds, with a digit more below ten seconds."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
