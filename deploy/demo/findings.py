"""What the demo's numbers say, in sentences counted from them: pure, and as honest in defeat as in victory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.demo.report_values import FEDERATION, Report

Verdict = Literal["beats every silo", "beats the mean silo", "does not beat the mean silo"]

FILLER_WORDS = frozenset({"a", "an", "and", "in", "of", "on", "the", "with"})
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Standing:
    """The federation's last held-out loss beside the others'.

    Attributes:
        gap_closed: Share of the way from the mean silo alone to pooled training that the federation went: above 1
            where it beats pooled training, below 0 where it loses to the mean silo alone, None where pooled training
            is no better than the mean silo alone.
    """

    verdict: Verdict
    federated: float
    alone_mean: float
    best_silo: str
    best_alone: float
    pooled: float
    gap_closed: float | None


@dataclass(frozen=True, slots=True)
class MatrixCount:
    """Comparisons of a silo alone with the federation, topic by topic; ties count for neither.

    Attributes:
        home_wins: Silos alone that beat the federation on their own topic, of `home` comparisons.
        away_wins: Comparisons that the federation wins on a topic the silo did not train on, of `away`.
    """

    home_wins: int
    home: int
    away_wins: int
    away: int


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a generated caption, and whether the true caption has it too (filler words aside)."""

    text: str
    is_hit: bool


def standing(report: Report) -> Standing:
    """Compares the federation with each silo alone and with pooled training, by the last held-out loss."""
    losses = {silo: course.loss for silo, course in report.alone.items()}
    mean = sum(losses.values()) / len(losses)
    best_silo = min(losses, key=lambda silo: losses[silo])
    federated, pooled = report.federated.loss, report.pooled.loss
    verdict: Verdict = "does not beat the mean silo"
    if federated < mean:
        verdict = "beats every silo" if federated < losses[best_silo] else "beats the mean silo"
    return Standing(
        verdict=verdict,
        federated=federated,
        alone_mean=mean,
        best_silo=best_silo,
        best_alone=losses[best_silo],
        pooled=pooled,
        gap_closed=(mean - federated) / (mean - pooled) if pooled < mean else None,
    )


def claim(report: Report) -> str:
    """The report in one sentence."""
    found = standing(report)
    federated, mean, best = distinct_losses(found.federated, found.alone_mean, found.best_alone)
    silos = f"{counted(len(report.alone))} silo{'s' if len(report.alone) > 1 else ''}"
    change = f"{abs(1 - found.federated / found.alone_mean):.1%}" if found.alone_mean else "0.0%"
    if found.verdict == "does not beat the mean silo":
        how = f"{change} higher" if found.federated > found.alone_mean else "no lower"
        return (
            f"This time the federation did not beat the mean silo alone: {silos} trained a projector together whose "
            f"held-out loss is {federated}, {how} than the {mean} that a silo reaches alone on average."
        )
    beside = (
        f" and lower than the best of them ({best})"
        if found.verdict == "beats every silo"
        else f", though the best of them, {found.best_silo}, reaches {best}"
    )
    return (
        f"{silos.capitalize()} that showed each other no picture trained one projector together: its held-out loss is "
        f"{federated}, {change} lower than a silo alone reaches on average ({mean}){beside}."
    )


def matrix_count(report: Report) -> MatrixCount:
    """Counts where a silo alone beats the federation at home, and where the federation wins elsewhere."""
    together = report.matrix.row(FEDERATION)
    home: list[float] = []
    away: list[float] = []
    for silo in report.alone:
        own = report.matrix.row(silo)
        if own is None or together is None or silo not in own:
            continue
        home.append(together[silo] - own[silo])
        away.extend(own[topic] - together[topic] for topic in report.matrix.topics if topic != silo)
    return MatrixCount(
        home_wins=sum(lead > 0 for lead in home),
        home=len(home),
        away_wins=sum(lead > 0 for lead in away),
        away=len(away),
    )


def matrix_sentence(report: Report) -> str:
    """How to read the matrix, with what is to be seen in it counted."""
    count = matrix_count(report)
    if not count.home or not count.away:
        return "Each row is one projector, each column the held-out pictures of one topic; lower is better."
    return (
        "Each row is one projector, each column the held-out pictures of one silo's topic, and lower is better: "
        f"at home, on its own topic (framed), a silo alone beats the federation {times(count.home_wins, count.home)}; "
        f"on the topics of the others the federation beats the silo alone {times(count.away_wins, count.away)}."
    )


def retrieval_sentence(report: Report) -> str:
    """What the shares of retrieval mean."""
    found, hits, chance = report.retrieval, report.retrieval.federated, report.retrieval.chance
    return (
        f"Shown a held-out picture and {found.num_candidates:,} captions, the federation's projector puts the "
        f"picture's own caption first for {percent(hits.top1)} of {found.num_pictures:,} pictures and among the "
        f"first five for {percent(hits.top5)}; chance alone would do so for {percent(chance.top1)} and "
        f"{percent(chance.top5)}."
    )


def captions_sentence(report: Report) -> str:
    """How many generated captions share a word with the true one, counted."""
    hits = sum(any(word.is_hit for word in caption_words(one.after, one.truth)) for one in report.captions)
    shown = f"{hits} of {len(report.captions)} captions after the federation share a word with the true one."
    if 2 * hits >= len(report.captions):
        return shown
    return (
        f"{shown} So short a training mostly teaches the model to speak in captions, and it often names another thing; "
        "what it picks shows more finely what it sees."
    )


def caption_words(caption: str, truth: str) -> Iterator[Word]:
    """The words of a generated caption, each with whether the true caption has it."""
    wanted = set(plain_words(truth)) - FILLER_WORDS
    for text in caption.split():
        yield Word(text, any(plain in wanted for plain in plain_words(text)))


def plain_words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def distinct_losses(*losses: float) -> tuple[str, ...]:
    """Losses with two digits, or with as many more as tell different ones apart (at most five)."""
    for digits in range(2, 6):
        shown = tuple(f"{loss:.{digits}f}" for loss in losses)
        if len(set(shown)) == len(set(losses)):
            break
    return shown


def counted(number: int) -> str:
    """A number as a word where it is small."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def times(wins: int, comparisons: int) -> str:
    """How often, out of how many comparisons."""
    if wins == 0:
        return f"in none of {comparisons} comparisons" if comparisons > 1 else "not in the one comparison"
    return f"in {wins} of {comparisons} comparisons" if comparisons > 1 else "in the one comparison"


def percent(share: float) -> str:
    """A share as per cent: whole numbers, and one digit below ten."""
    return f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}"
