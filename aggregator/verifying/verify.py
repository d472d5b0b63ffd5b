"""Verifies a federation: goes through its store in the order in which one thing rests on another."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aggregator.ledger import Ledger, keys
from aggregator.ledger.records import FederationRecord
from aggregator.stores import Store
from aggregator.trust_domains import Vouchers
from aggregator.verifying.case import Case
from aggregator.verifying.chains import check_chains
from aggregator.verifying.evidence import Evidence
from aggregator.verifying.findings import BrokenLink, Findings
from aggregator.verifying.inventory import check_inventory
from aggregator.verifying.receipts import check_receipt
from aggregator.verifying.rounds import check_round
from isthmus.contribution import Receipt
from isthmus.errors import FederationUnknown, ProjectorUnknown
from isthmus.spec import NAME_PATTERN

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom a verdict may rest on beside the store: known from elsewhere, for whoever writes to a store writes it all.

    Attributes:
        vouchers: Who may vouch for silos' certificates; None: not known.
        aggregator_keys: Ed25519 public keys that sign receipts; None: not known.
    """

    vouchers: Vouchers | None = None
    aggregator_keys: tuple[bytes, ...] | None = None


NOBODY = Trusted()
"""Nothing is known from elsewhere: the verdict says what was not checked."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying found.

    Attributes:
        federation: Which federation.
        latest: Its newest global projector.
        recomputed: The rounds whose projectors were computed once more.
        broken: Broken links, in the order in which one thing rests on another.
        remarks: What could not be checked, and why.
        num_receipts: How many receipts were compared.
        num_objects: How many objects were read, some of them twice.
        num_bytes: Of all of them.
    """

    federation: str
    latest: int
    recomputed: tuple[int, ...]
    broken: tuple[BrokenLink, ...]
    remarks: tuple[str, ...]
    num_receipts: int
    num_objects: int
    num_bytes: int


def verify(
    store: Store,
    federation: str,
    *,
    only: int | None = None,
    receipts: Sequence[Receipt] = (),
    trusted: Trusted = NOBODY,
    memory_budget_bytes: int,
    scratch: Path,
    progress: Progress = lambda text: None,
) -> Verdict:
    """Checks every object of a federation, or one round and what it rests on; reads, and writes nothing to the store.

    The federation may go on meanwhile: what was published when it began is judged.

    Args:
        store: Where it is: the federation's own, or an export of it.
        federation: Which federation.
        only: This round alone; None: everything.
        receipts: What silos hold.
        trusted: Whom to believe about silos and receipts; where not known that is not checked, and the verdict says so.
        memory_budget_bytes: What the arithmetic may hold at once.
        scratch: A folder with room for a projector and an optimizer's state.
        progress: Told what is looked at.

    Raises:
        FederationUnknown: The store holds nothing of such a federation.
        ProjectorUnknown: The round asked for is not published.
        ConfigInvalid: The memory budget is too small for a roster.
        StoreUnavailable: The store failed; try again.
    """
    findings = Findings()
    evidence = Evidence(store, federation, findings)
    record = _definition(evidence)
    if record is None:
        return _verdict(evidence, latest=0, recomputed=[], num_receipts=0)
    latest = _latest(evidence)
    if only is not None:
        _require_published(federation, only, latest=latest)
    case = Case(
        evidence,
        Ledger(store),
        record,
        latest=latest,
        vouchers=trusted.vouchers,
        memory_budget_bytes=memory_budget_bytes,
        scratch=scratch,
    )
    recomputed = _check_rounds(case, range(1, latest + 2) if only is None else [only], progress=progress)
    for receipt in receipts:
        check_receipt(case, receipt, aggregator_keys=trusted.aggregator_keys)
    if only is None:
        progress("everything else")
        check_chains(case)
        check_inventory(case)
    return _verdict(evidence, latest=latest, recomputed=recomputed, num_receipts=len(receipts))


def _check_rounds(case: Case, numbers: Iterable[int], *, progress: Progress) -> list[int]:
    """Checks these rounds; those whose projectors were computed once more."""
    recomputed = []
    for number in numbers:
        progress(f"round {number} of {case.latest}" if number <= case.latest else "the open round")
        case.forget_before(number)
        if check_round(case, number):
            recomputed.append(number)
    return recomputed


def verify_chains(store: Store, federation: str, *, scratch: Path) -> Verdict:
    """Judges what is on record of acts and rounds, and nothing else; see `verify`."""
    evidence = Evidence(store, federation, Findings())
    record = _definition(evidence)
    latest = _latest(evidence)
    if record is not None:
        case = Case(
            evidence, Ledger(store), record, latest=latest, vouchers=None, memory_budget_bytes=0, scratch=scratch
        )
        check_chains(case)
    return _verdict(evidence, latest=latest, recomputed=[], num_receipts=0)


def _require_published(federation: str, number: int, *, latest: int) -> None:
    if not 1 <= number <= latest:
        published = f"rounds 1 to {latest}" if latest else "no round yet"
        raise ProjectorUnknown(f"Federation {federation} has published {published}, so not {number}.")


def _definition(evidence: Evidence) -> FederationRecord | None:
    """What the federation is; None, and a broken link, where that cannot be read."""
    name = evidence.federation
    if not NAME_PATTERN.fullmatch(name) or next(iter(evidence.store.list(f"federations/{name}")), None) is None:
        raise FederationUnknown(f"The store holds no federation {name[:64]!r}. Check its name, and the store's.")
    key, meaning = keys.federation_file(name), "Nothing of this federation can be judged without its definition."
    record = evidence.document(key, FederationRecord.from_json, meaning=meaning)
    if record is None:
        return None
    fits = evidence.findings.agree(key, expected=name, found=record.federation.name, meaning=meaning)
    initial = record.initial
    lost = "The bytes of the initial projector are not those that the federation was created with."
    evidence.blob_holds(initial.digest, size_bytes=initial.size_bytes, meaning=lost)
    return record if fits else None


def _latest(evidence: Evidence) -> int:
    """The newest global projector that was published, whether its manifest is still there or not.

    Whoever contributed to a round saw the projector before it. Contributions are listed first: projectors come before.
    """
    prefix = keys.rounds(evidence.federation)
    rounds = {entry.key.removeprefix(f"{prefix}/").partition("/") for entry in evidence.store.list(prefix)}
    seen = {int(number) - 1 for number, _, rest in rounds if number.isdecimal() and rest.startswith("contributions/")}
    published = {int(name) for name in evidence.names(keys.projectors(evidence.federation)) if name.isdecimal()}
    return max(seen | published, default=0)


def _verdict(evidence: Evidence, *, latest: int, recomputed: Sequence[int], num_receipts: int) -> Verdict:
    return Verdict(
        federation=evidence.federation,
        latest=latest,
        recomputed=tuple(recomputed),
        broken=tuple(dict.fromkeys(evidence.findings.broken)),
        remarks=tuple(dict.fromkeys(evidence.findings.remarks)),
        num_receipts=num_receipts,
        num_objects=evidence.num_objects,
        num_bytes=evidence.num_bytes,
    )
