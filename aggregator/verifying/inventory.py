"""Every object that no round answers for: the operator's documents, staged bytes, blobs that no manifest names."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress

from aggregator.ledger import keys
from aggregator.ledger.canonical import fields_of
from aggregator.ledger.documents import manifest_to_json
from aggregator.ledger.records import SiloRecord
from aggregator.stores import exists
from aggregator.verifying.case import Case
from isthmus.errors import InvariantBroken
from isthmus.federation import FederationState
from isthmus.spec import NAME_PATTERN

Check = Callable[[Case, str, re.Match[str]], None]


def check_inventory(case: Case) -> None:
    """Checks each of them by itself and against its kin; tells of objects that are none of a federation's."""
    if case.evidence.content(keys.catalog(case.name)) != case.name.encode():
        case.findings.broke(
            keys.catalog(case.name),
            expected=case.name,
            found="another content, or nothing",
            meaning="The federation is not listed, and no replica advances it.",
        )
    for entry in case.evidence.store.list(f"federations/{case.name}"):
        rest = entry.key.removeprefix(f"federations/{case.name}/")
        for pattern, check in KINDS.items():
            if found := re.fullmatch(pattern, rest):
                check(case, entry.key, found)
                break
        else:
            case.findings.remark(f"{entry.key} is none of a federation's objects; nothing reads it.")


def _state(case: Case, key: str, found: re.Match[str]) -> None:
    """Running or paused under one key, finished under the other."""
    meaning = "What the operator last asked for cannot be trusted."
    content = case.evidence.content(key)  # None: overwritten documents are never deleted, so it is there
    fields = None if content is None else case.evidence.parsed(key, content, fields_of, meaning=meaning)
    if fields is not None:
        is_final = fields.get("state") == FederationState.FINISHED
        case.findings.agree(key, expected=found[1] == "finished", found=is_final, meaning=meaning)


def _silo(case: Case, key: str, found: re.Match[str]) -> None:
    meaning = f"Who silo {found[1]} is cannot be trusted."
    record = case.evidence.document(key, lambda text: SiloRecord.from_json(text, active=True), meaning=meaning)
    if record is None:
        return
    case.findings.agree(key, expected=found[1], found=record.silo, meaning=meaning)
    invited = keys.invitation(case.name, record.invitation_sha256)
    case.findings.agree(
        invited,
        expected=found[1],
        found=(case.evidence.content(invited) or b"").decode(errors="replace"),
        meaning=f"The invitation of silo {found[1]} opens nothing, or opens for another.",
    )


def _revoked(case: Case, key: str, found: re.Match[str]) -> None:
    _empty(case, key, found)
    if not exists(case.evidence.store, keys.silo(case.name, found[1])):
        case.evidence.missing(keys.silo(case.name, found[1]), meaning=f"Silo {found[1]} is barred, and not enrolled.")


def _empty(case: Case, key: str, found: re.Match[str]) -> None:
    """A marker: that it is there says all."""
    content = case.evidence.content(key)
    if content:
        case.findings.broke(key, expected="0 bytes", found=f"{len(content)} bytes", meaning="A marker was written to.")


def _segment(case: Case, key: str, found: re.Match[str]) -> None:
    """Staged bytes that no contribution refers to; the others were judged with their round."""
    if key in _referred_to(case, int(found[1]), found[2]):
        case.segment_names.skip(key)
        return
    with suppress(KeyError):  # swept since it was listed
        if case.segment_names.holds(key, case.evidence.pieces(key)) is False:
            case.findings.broke(
                key,
                expected=f"bytes that bring the payload's SHA-256 to {found[3]}",
                found="bytes that do not",
                meaning="These staged bytes changed.",
            )


def _referred_to(case: Case, number: int, silo: str) -> set[str]:
    """The segments of what a silo contributed to a round."""
    try:
        contribution = case.ledger.contribution(case.name, number, silo)
    except InvariantBroken:
        return set()  # a damaged document was told with its round; its bytes are judged one by one
    return {segment.key for segment in contribution.segments} if contribution else set()


def _blob(case: Case, key: str, found: re.Match[str]) -> None:
    digest = bytes.fromhex(found[1])
    if not case.evidence.judged(digest):
        case.evidence.blob_holds(digest, size_bytes=None, meaning="No manifest names these bytes; they changed.")


def _invitation(case: Case, key: str, found: re.Match[str]) -> None:
    """Whose it is: what it says without a silo's document that names it too means nothing, but must be a name."""
    content = (case.evidence.content(key) or b"").decode(errors="replace")
    if not NAME_PATTERN.fullmatch(content):
        case.findings.broke(key, expected="a silo's name", found=repr(content), meaning="It opens nothing.")


def _redeemed(case: Case, key: str, found: re.Match[str]) -> None:
    """With which keys an invitation was used; a site whose enrolment died before its credential stood asks again."""
    meaning = "With which keys this invitation was used cannot be trusted."
    fields = case.evidence.document(key, fields_of, meaning=meaning)
    if fields is not None:
        named = str(fields.get("invitation_sha256"))
        case.findings.agree(key, expected=found[1], found=named, meaning=meaning)


def _credential(case: Case, key: str, found: re.Match[str]) -> None:
    """Judged with what it signed, if it signed anything."""
    case.signers.credential(found[1])


def _strike(case: Case, key: str, found: re.Match[str]) -> None:
    meaning = f"Whether silo {found[1]} is quarantined cannot be trusted."
    fields = case.evidence.document(key, fields_of, meaning=meaning)
    if fields is not None:
        says = f"{fields['silo']}/{fields['epoch']}/{fields['name']}"
        case.findings.agree(key, expected="/".join(found.groups()), found=says, meaning=meaning)


def _claim(case: Case, key: str, found: re.Match[str]) -> None:
    meaning = "Whether these bytes were contributed before cannot be trusted."
    fields = case.evidence.document(key, fields_of, meaning=meaning)
    if fields is not None:
        says = f"{fields['payload_digest']}/{fields['number']}"
        case.findings.agree(key, expected="/".join(found.groups()), found=says, meaning=meaning)


def _manifest(case: Case, key: str, found: re.Match[str]) -> None:
    """That of projector 0 follows from the federation's definition; the others were judged with their rounds."""
    if found[1] == "0" and (content := case.evidence.content(key)) is not None:
        expected = manifest_to_json(case.record.initial)
        case.findings.agree(
            key,
            expected=f"a document with SHA-256 {hashlib.sha256(expected).hexdigest()}",
            found=f"a document with SHA-256 {hashlib.sha256(content).hexdigest()}",
            meaning="The manifest of the initial projector is not the one that the federation's definition gives.",
        )


def _of_round(case: Case, key: str, found: re.Match[str]) -> None:
    """Judged with its round, if there is such a round by now."""
    last = case.ledger.latest_number(case.name) + 1
    if not 1 <= int(found[1]) <= last:
        case.findings.broke(
            key, expected=f"no round after {last}", found=f"round {found[1]}", meaning="There is no such round yet."
        )


def _contribution(case: Case, key: str, found: re.Match[str]) -> None:
    """Its silo was enrolled when it came, and enrolments stay."""
    _of_round(case, key, found)
    enrolment = keys.silo(case.name, found[2])
    if not exists(case.evidence.store, enrolment):
        case.evidence.missing(enrolment, meaning=f"Silo {found[2]} contributed, and is not enrolled.")


def _nothing(case: Case, key: str, found: re.Match[str]) -> None:
    """Judged before everything else."""


_SILO = "([a-z0-9][a-z0-9-]{0,62})"
_SHA = "([0-9a-f]{64})"

KINDS: dict[str, Check] = {
    r"federation\.json": _nothing,
    r"(state|finished)\.json": _state,
    rf"silos/{_SILO}\.json": _silo,
    rf"revoked/{_SILO}": _revoked,
    rf"invitations/{_SHA}": _invitation,
    rf"redeemed/{_SHA}\.json": _redeemed,
    rf"credentials/{_SHA}\.json": _credential,
    rf"strikes/{_SILO}/(\d+)/(released|[0-9a-f]{{64}})": _strike,
    rf"payloads/{_SHA}/(\d+)": _claim,
    rf"uploads/(\d+)/{_SILO}/[0-9a-f]{{64}}/\d+/\d{{16}}-{_SHA}": _segment,
    rf"uploads/(\d+)/{_SILO}/[0-9a-f]{{64}}/dropped-\d+": _empty,
    rf"rounds/(\d+)/contributions/{_SILO}\.json": _contribution,
    r"rounds/(\d+)/(?:closing|roster|removed|keys|opening)\.json": _of_round,
    rf"rounds/(\d+)/(?:offers|seeds)/{_SILO}\.json": _of_round,
    rf"audit/(\d+)/{_SILO}/(?:\d{{3}}|admitted)\.json": _of_round,
    r"audit/acts/\d{8}\.json": _nothing,
    r"audit/rounds/(\d+)\.json": _of_round,
    r"projectors/(\d+)\.json": _manifest,
    rf"blobs/{_SHA}": _blob,
}
"""How each kind of object is checked, by its key within the federation."""
