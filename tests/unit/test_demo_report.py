"""The demo's report: honest sentences, a page that needs nothing but itself, files that are whole."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.demo.findings import (
    caption_words,
    captions_sentence,
    claim,
    distinct_losses,
    matrix_count,
    matrix_sentence,
    percent,
    standing,
)
from deploy.demo.plots import LOOKS, PLOTS, spread
from deploy.demo.report import duration, file_name, render, size, write_report
from deploy.demo.report_values import report_of
from isthmus.errors import InvariantBroken
from tests.demo_reports import SILOS, UNTRAINED, draw_pictures, losing_report, sample_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample report written into it."""
    folder = tmp_path_factory.mktemp("demo")
    draw_pictures(folder)
    write_report(sample_report(), folder)
    return folder


class Page(HTMLParser):
    """Collects a page's tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects a tag."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Collects text."""
        self.text += data


def page_without_figures(document: dict[str, Any]) -> Page:
    """The page of a report, with nothing where its figures and pictures belong: drawing them takes its time."""
    figures = {file_name(plot, look): b"" for plot in PLOTS for look in LOOKS}
    return Page(render(report_of(document), figures, [""] * len(document["captions"])))


def page_of(folder: Path) -> Page:
    """The page in a report's folder."""
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def value_at(document: Any, path: str) -> Any:
    """What stands at a dotted path of a JSON document."""
    for key in path.split("."):
        document = document[key]
    return document


@pytest.mark.parametrize(
    "path",
    [
        "federated.loss_by_round",
        *(f"alone.{silo}.loss" for silo in SILOS),
        "pooled.loss",
        "retrieval.federated.top1",
        "retrieval.chance.top1",
        "seconds",
        "peak_rss_bytes.aggregator",
    ],
)
def test_json_has_what_others_read(folder: Path, path: str) -> None:
    """report.json holds the keys that benchmarks and readers rely on, with the numbers that went in."""
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))

    assert value_at(document, path) == value_at(sample_report(), path)


def test_json_reads_back_as_the_same_report(folder: Path) -> None:
    """What report.json says is a whole report: reading it gives the values it was written from."""
    assert report_of(json.loads((folder / "report.json").read_text(encoding="utf-8"))) == report_of(sample_report())


def test_folder_holds_whole_files_alone(folder: Path) -> None:
    """The folder holds the page, the numbers, each figure in both looks, and nothing half-written."""
    names = {file.name for file in folder.iterdir()}

    figures = {f"{plot}{look}.png" for plot in ("loss", "matrix", "retrieval") for look in ("", "-dark")}
    assert names == {"report.html", "report.json", "captions"} | figures


@pytest.mark.parametrize("plot", ["loss", "matrix", "retrieval"])
def test_figures_differ_by_look(folder: Path, plot: str) -> None:
    """Each figure is a picture, bright in the light look and dark in the dark one."""
    corners = {}
    for look in ("", "-dark"):
        with Image.open(folder / f"{plot}{look}.png") as picture:
            corners[look] = picture.convert("L").getpixel((0, 0))

    assert corners[""] > 200
    assert corners["-dark"] < 60


def test_page_loads_nothing(folder: Path) -> None:
    """Every picture is inlined, there is no script, and nothing but a link a reader clicks leads anywhere."""
    page = page_of(folder)
    loads = [
        (tag, name, value)
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "srcset", "href", "data", "poster", "action"} and not value.startswith("data:image/")
    ]

    assert {tag for tag, _, _ in loads} == {"a"}
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base"} == set()
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"url\(|@import|javascript:", html) == []


def test_page_forbids_itself_to_load(folder: Path) -> None:
    """The page's own policy denies a browser everything but inlined pictures and style."""
    policies = [attributes["content"] for _, attributes in page_of(folder).tags if "http-equiv" in attributes]

    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_page_says_claim_first(folder: Path) -> None:
    """The page's headline is the claim counted from its numbers."""
    text = " ".join(page_of(folder).text.split())

    assert claim(report_of(sample_report())) in text


def test_hostile_text_stays_text() -> None:
    """Captions, names and sources that look like HTML or scripts are shown, never obeyed."""
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"
    document = sample_report()
    document["captions"] = [
        {
            "picture": "captions/00.png",
            "truth": attack,
            "before": attack,
            "after": f"</style>{attack}",
            "picked": attack,
        }
    ]
    document["title"] = f"</title>{attack}"
    document["silos"] = {attack: {"num_pictures": 1, "description": attack}}
    document["licences"][0] |= {"name": attack, "source": "javascript:alert(1)"}

    page = page_without_figures(document)

    assert "script" not in {tag for tag, _ in page.tags}
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == []
    assert attack in page.text


def test_the_page_tells_what_silos_say_of_each_projector() -> None:
    """The silos' own held-out losses stand there for every projector that somebody pulled."""
    told = re.findall(r"(\d\.\d\d) \((\d\.\d\d) to (\d\.\d\d)\)", page_without_figures(sample_report()).text)
    assert told == [(f"{6.9 - one:.2f}", f"{6.71 - one:.2f}", f"{7.23 - one:.2f}") for one in range(4)]


def test_smallest_report_is_a_page(tmp_path: Path) -> None:
    """One silo, one round, nothing learnt and nothing to list still gives a page, without a warning."""
    course = {"loss": 0.0, "loss_by_round": [0.0]}
    none = {"top1": 0.0, "top5": 0.0}
    document = sample_report() | {
        "rounds": 1,
        "federated": course,
        "alone": {"food": course},
        "pooled": course,
        "matrix": {"topics": ["food"], "rows": [{"trained_by": "federation", "loss_by_topic": {"food": 0.0}}]},
        "captions": [],
        "lineage": [],
        "licences": [],
        "traffic": {},
        "seconds_by_phase": {},
        "peak_rss_bytes": {},
    }
    document["retrieval"] = {"num_candidates": 0, "num_pictures": 0} | dict.fromkeys(
        ("federated", "pooled", "chance"), none
    )

    assert write_report(document, tmp_path).is_file()


@pytest.mark.parametrize("picture", ["../secret.png", "/etc/hostname", "captions/none.png", "report.json"])
def test_pictures_come_from_the_folder_alone(tmp_path: Path, picture: str) -> None:
    """A caption's picture that is outside the folder, absent or no picture is refused, and nothing is written."""
    folder = tmp_path / "report"
    draw_pictures(folder)
    (tmp_path / "secret.png").write_bytes(b"private")
    document = sample_report()
    document["captions"][0]["picture"] = picture

    with pytest.raises(InvariantBroken, match=re.escape(repr(picture))):
        write_report(document, folder)
    assert [file.name for file in folder.iterdir()] == ["captions"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"seconds": float("nan")}, "seconds"),
        ({"federated": {"loss": 3.0, "loss_by_round": []}}, "federated.loss_by_round"),
        ({"alone": {}}, "alone"),
        ({"suprise": 1}, "suprise"),
        ({"matrix": {"topics": ["food"], "rows": [{"trained_by": "food", "loss_by_topic": {}}]}}, "matrix"),
        ({"created_at": "2026-03-01T20:53:11"}, "created_at"),
    ],
)
def test_wrong_report_is_refused_by_its_path(change: dict[str, Any], where: str) -> None:
    """A report with a key missing, unknown or impossible is refused, and the message says where."""
    with pytest.raises(InvariantBroken, match=f"wrong at {re.escape(where)}:"):
        report_of(sample_report() | change)


def test_claim_of_a_winner() -> None:
    """A federation that beats every silo alone says so, with by how much."""
    found = report_of(sample_report())

    assert standing(found).verdict == "beats every silo"
    assert claim(found) == (
        "Four silos that showed each other no picture trained one projector together: its held-out loss is 3.05, 28.6% "
        "lower than a silo alone reaches on average (4.28) and lower than the best of them (4.21)."
    )


def test_claim_names_the_silo_that_is_better() -> None:
    """A federation that beats the mean silo alone, but not the best, names that silo."""
    document = sample_report()
    document["alone"]["food"] = {"loss": 2.9, "loss_by_round": [UNTRAINED, 2.9]}
    found = report_of(document)

    assert standing(found).verdict == "beats the mean silo"
    assert claim(found).endswith(", though the best of them, food, reaches 2.90.")


def test_claim_admits_defeat() -> None:
    """A federation that loses to the mean silo alone says so in its first words, and the page is marked so."""
    assert standing(report_of(losing_report())).verdict == "does not beat the mean silo"
    assert claim(report_of(losing_report())).startswith("This time the federation did not beat the mean silo alone")
    assert "22.8% higher than" in claim(report_of(losing_report()))
    assert ("header", {"class": "lost"}) in page_without_figures(losing_report()).tags


def test_a_tie_is_no_victory() -> None:
    """A federation exactly as good as the mean silo alone does not claim to beat it."""
    same = {"loss": 4.0, "loss_by_round": [UNTRAINED, 4.0]}
    found = report_of(sample_report() | {"federated": same, "alone": {"food": same, "people": same}})

    assert standing(found).verdict == "does not beat the mean silo"
    assert "no lower than the 4.00" in claim(found)


def test_gap_closed_counts_from_silo_alone_to_pooled() -> None:
    """The share of the gap is 0 at the mean silo alone, 1 at pooled training, and unsaid where there is no gap."""
    shares = [
        standing(
            report_of(
                sample_report()
                | {
                    "alone": {"food": {"loss": 4.0, "loss_by_round": [4.0]}},
                    "federated": {"loss": federated, "loss_by_round": [federated]},
                    "pooled": {"loss": pooled, "loss_by_round": [pooled]},
                }
            )
        ).gap_closed
        for federated, pooled in [(4.0, 2.0), (2.5, 2.0), (2.0, 2.0), (3.0, 4.0)]
    ]

    assert shares == [0.0, 0.75, 1.0, None]


def test_matrix_is_counted_at_home_and_away() -> None:
    """The matrix's sentence counts where a silo alone wins at home and where the federation wins elsewhere."""
    document = sample_report()
    animals = next(row for row in document["matrix"]["rows"] if row["trained_by"] == "animals")
    animals["loss_by_topic"] |= {"animals": 2.98, "food": 2.0}  # a tie at home, a win elsewhere
    found = report_of(document)
    count = matrix_count(found)

    assert (count.home_wins, count.home, count.away_wins, count.away) == (3, 4, 11, 12)
    assert "beats the federation in 3 of 4 comparisons" in matrix_sentence(found)
    assert "beats the silo alone in 11 of 12 comparisons" in matrix_sentence(found)


def test_marked_words_stand_in_the_truth() -> None:
    """A generated word is marked where the true caption has it, whatever its case, and fillers never are."""
    words = caption_words("The Red fox, of a man", "a red fox of the north")

    assert [word.text for word in words if word.is_hit] == ["Red", "fox,"]


def test_names_at_line_ends_do_not_overlap() -> None:
    """Names of lines that end close together are moved apart, in order and not below the axis."""
    heights = spread([1.0, 1.01, 1.02, 4.0, 4.0], gap=0.5, low=0.9)
    gaps = [above - below for below, above in itertools.pairwise(heights)]

    assert min(gaps) >= 0.5 - 1e-9
    assert heights[0] >= 0.9
    assert abs(sum(heights[3:]) / 2 - 4.0) < 1e-9


def test_different_losses_look_different() -> None:
    """Losses that two digits cannot tell apart get more digits, up to five."""
    assert distinct_losses(3.1, 4.2) == ("3.10", "4.20")
    assert distinct_losses(3.1114, 3.1119) == ("3.111", "3.112")
    assert distinct_losses(3.0, 3.0) == ("3.00", "3.00")


def test_amounts_are_written_for_people() -> None:
    """Sizes, times and shares have the unit and the digits that a reader wants."""
    assert [size(0), size(1023), size(1536), size(731_000_000)] == ["0 B", "1023 B", "1.5 KiB", "697 MiB"]
    assert [duration(6.31), duration(59.4), duration(59.9), duration(214.6)] == [
        "6.3 s",
        "59 s",
        "1 min 0 s",
        "3 min 35 s",
    ]
    assert [percent(0.0), percent(0.005), percent(0.0994), percent(0.235)] == ["0%", "0.5%", "9.9%", "24%"]


def test_captions_are_counted_and_not_praised() -> None:
    """The page counts captions that share a word with the truth, and says so plainly where most share none."""
    document = sample_report()
    assert captions_sentence(report_of(document)).startswith("4 of 4 captions after the federation share")
    for caption in document["captions"]:
        caption["after"] = "a snail"

    told = captions_sentence(report_of(document))
    assert told.startswith("0 of 4 captions after the federation share a word with the true one.")
    assert "often names another thing" in told
