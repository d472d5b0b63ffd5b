"""Battery A: safetensors headers that nobody honest writes, each with the check that must find it."""

import gzip
import io
import json
import pickle
import zipfile

import numpy as np

from tests.hostile.forged import DATA, A, B, payload_of

CAP = 256 * 1024
MEGABYTES = 95_000_000


def entries(**replaced: object) -> dict[str, object]:
    """The right header, with these entries in place of the right ones."""
    return {"a": A, "b": B, **replaced}


def raw(a: str = json.dumps(A), b: str = json.dumps(B), extra: str = "") -> str:
    """The right header as text, of which parts can be what no JSON writer writes."""
    return f'{{"a":{a},"b":{b}{extra}}}'


def announcing(length: int, rest: bytes = b"") -> bytes:
    """A payload of the right size whose first 8 bytes announce a header of this length."""
    return (length.to_bytes(8, "little") + rest + payload_of(entries())[8 + len(rest) :])[: len(payload_of(entries()))]


def file_of(content: bytes) -> bytes:
    """Another file's bytes at the size of a payload."""
    return content.ljust(len(payload_of(entries())), b"\0")[: len(payload_of(entries())) + CAP // 2]


def zipped() -> bytes:
    """A small zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
    return buffer.getvalue()


def npz() -> bytes:
    """A small numpy archive."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


CASES: list[tuple[str, bytes, str]] = [
    ("A01-empty payload", b"", "ST_SHORT"),
    ("A02-seven bytes", b"\x10" + b"\0" * 6, "ST_SHORT"),
    ("A03-header length 0", announcing(0), "ST_HEADER_LEN"),
    ("A03-header length 1", announcing(1), "ST_HEADER_LEN"),
    ("A04-header longer than the payload", announcing(10_000), "ST_HEADER_LEN"),
    ("A04-header one byte longer than the payload", announcing(len(payload_of(entries())) - 7), "ST_HEADER_LEN"),
    ("A05-header length 2^63", announcing(2**63), "ST_HEADER_LEN"),
    ("A05-header length 2^64 - 1", announcing(2**64 - 1), "ST_HEADER_LEN"),
    (
        "A06-one byte over the cap",
        payload_of(json.dumps(entries()).ljust(CAP + 1), DATA[:-1], pad=False),
        "ST_HEADER_LEN",
    ),
    ("A07-95 MB of metadata pairs", announcing(MEGABYTES, b'{"__metadata__":{"a":"","b":""'), "ST_HEADER_LEN"),
    ("A08-97 MB of empty tensors", announcing(MEGABYTES, b'{"a":{"dtype":"F32","shape":[0]'), "ST_HEADER_LEN"),
    ("A09-99 MB of spaces", announcing(MEGABYTES, b"{}" + b" " * 60), "ST_HEADER_LEN"),
    ("A10-leading space", payload_of(" " + raw()), "ST_HEADER_START"),
    ("A11-byte order mark", payload_of("\ufeff" + raw()), "ST_HEADER_START"),
    ("A12-trailing NUL", payload_of(raw() + "\0", pad=False), "ST_HEADER_JSON"),
    ("A12-trailing newline", payload_of(raw() + "\n", pad=False), "ST_HEADER_JSON"),
    ("A12-trailing tab before spaces", payload_of(raw() + "\t"), "ST_HEADER_JSON"),
    ("A12-second object", payload_of(raw() + "{}"), "ST_HEADER_JSON"),
    ("A13-not UTF-8", payload_of(raw().replace("F32", "F\u00ff2").encode("latin-1")), "ST_HEADER_UTF8"),
    ("A13-surrogate in UTF-8", payload_of(raw().encode().replace(b'"a"', b'"\xed\xa0\x80"')), "ST_HEADER_UTF8"),
    ("A14-not JSON", payload_of(raw().replace(":", "=", 1)), "ST_HEADER_JSON"),
    ("A14-array", payload_of(f"[{raw()}]"), "ST_HEADER_START"),
    ("A14-null", payload_of("null" + " " * 200), "ST_HEADER_START"),
    ("A14-NaN literal", payload_of(raw(a='{"dtype":"F32","shape":[NaN],"data_offsets":[0,24]}')), "ST_HEADER_JSON"),
    ("A14-Infinity literal", payload_of(raw(extra=',"c":-Infinity')), "ST_HEADER_JSON"),
    ("A14-control character in a string", payload_of(raw(extra=',"c\n":1')), "ST_HEADER_JSON"),
    ("A15-100,000 brackets", payload_of('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "ST_HEADER_DEPTH"),
    ("A15-100,000 brackets never closed", payload_of('{"a":' + "[" * 100_000 + "}"), "ST_HEADER_DEPTH"),
    ("A15-depth 5", payload_of('{"a":[[[[1]]]]}' + " " * 100), "ST_HEADER_DEPTH"),
    ("A16-name twice, equal entries", payload_of(raw(extra=f',"a":{json.dumps(A)}')), "ST_DUP_KEY"),
    ("A17-name twice, other shape", payload_of(raw(extra=f',"b":{json.dumps({**B, "shape": [1]})}')), "ST_DUP_KEY"),
    ("A18-name twice through an escape", payload_of(raw(extra=f',"\\u0061":{json.dumps(A)}')), "ST_DUP_KEY"),
    (
        "A19-field twice",
        payload_of(raw(a='{"dtype":"F32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}')),
        "ST_DUP_KEY",
    ),
    ("A20-metadata key twice", payload_of(raw(extra=',"__metadata__":{"k":"v","k":"v"}')), "ST_DUP_KEY"),
    ("A21-unknown field", payload_of(entries(a={**A, "device": "cuda"})), "ST_FIELD"),
    ("A22-no dtype", payload_of(entries(a={"shape": [2, 3], "data_offsets": [0, 24]})), "ST_FIELD"),
    ("A22-no shape", payload_of(entries(a={"dtype": "F32", "data_offsets": [0, 24]})), "ST_FIELD"),
    ("A22-no offsets", payload_of(entries(a={"dtype": "F32", "shape": [2, 3]})), "ST_FIELD"),
    ("A22-entry is a list", payload_of(entries(a=["F32", [2, 3], [0, 24]])), "ST_FIELD"),
    ("A22-entry is null", payload_of(entries(a=None)), "ST_FIELD"),
    ("A23-float in shape", payload_of(entries(a={**A, "shape": [2.0, 3]})), "ST_INT"),
    ("A23-exponent in offsets", payload_of(raw(a='{"dtype":"F32","shape":[2,3],"data_offsets":[0,24e0]}')), "ST_INT"),
    ("A23-text in shape", payload_of(entries(a={**A, "shape": ["2", 3]})), "ST_INT"),
    ("A23-bool in shape", payload_of(entries(b={**B, "shape": [3, True]})), "ST_INT"),
    ("A23-bool in offsets", payload_of(entries(a={**A, "data_offsets": [False, 24]})), "ST_INT"),
    ("A23-2^63", payload_of(entries(a={**A, "data_offsets": [0, 2**63]})), "ST_INT"),
    (
        "A23-5,000 digits",
        payload_of(raw(a='{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,24]}')),
        "ST_INT",
    ),
    ("A23-shape is a number", payload_of(entries(b={**B, "shape": 3})), "ST_INT"),
    ("A23-one offset", payload_of(entries(a={**A, "data_offsets": [24]})), "ST_INT"),
    ("A23-three offsets", payload_of(entries(a={**A, "data_offsets": [0, 24, 24]})), "ST_INT"),
    ("A23-dtype is a number", payload_of(entries(a={**A, "dtype": 32})), "ST_INT"),
    ("A24-negative shape", payload_of(entries(a={**A, "shape": [-2, -3]})), "ST_INT"),
    ("A24-negative offset", payload_of(entries(a={**A, "data_offsets": [-24, 0]})), "ST_INT"),
    ("A24-minus zero", payload_of(raw(a='{"dtype":"F32","shape":[2,3],"data_offsets":[-0,24]}')), "ST_INT"),
    ("A25-begin after end", payload_of(entries(a={**A, "data_offsets": [24, 0]})), "ST_OFFSET"),
    ("A25-offset beyond the payload", payload_of(entries(b={**B, "data_offsets": [24, 4000]})), "ST_OFFSET"),
    ("A26-overlap", payload_of(entries(b={**B, "data_offsets": [20, 32]})), "ST_OFFSET"),
    ("A26-alias", payload_of(entries(b={**B, "data_offsets": [0, 12]})), "ST_OFFSET"),
    ("A27-hole", payload_of(entries(b={**B, "data_offsets": [28, 40]}), DATA + b"\0" * 4), "ST_OFFSET"),
    (
        "A27-first offset not 0",
        payload_of({"a": {**A, "data_offsets": [8, 32]}, "b": {**B, "data_offsets": [32, 44]}}, b"\0" * 8 + DATA),
        "ST_OFFSET",
    ),
    ("A28-one byte follows", payload_of(entries(), DATA + b"\0"), "ST_LENGTH"),
    ("A28-a zip archive follows", payload_of(entries(), DATA + zipped()), "ST_LENGTH"),
    ("A28-a pickle follows", payload_of(entries(), DATA + pickle.dumps([1])), "ST_LENGTH"),
    ("A28-a program follows", payload_of(entries(), DATA + b"\x7fELF" + b"\0" * 60), "ST_LENGTH"),
    ("A28-one byte short", payload_of(entries(), DATA[:-1]), "ST_LENGTH"),
    ("A29-control character in a name", payload_of(entries(**{"c\x1b[31m": B})), "ST_NAME"),
    ("A29-right-to-left override in a name", payload_of(entries(**{"c\u202egnp": B})), "ST_NAME"),
    ("A29-NUL in a name", payload_of(entries(**{"a\0": B})), "ST_NAME"),
    ("A29-newline in a name", payload_of(entries(**{"a\nb": B})), "ST_NAME"),
    ("A30-path as a name", payload_of(entries(**{"../../etc/x": B})), "ST_NAME"),
    ("A30-absolute path as a name", payload_of(entries(**{"/etc/x": B})), "ST_NAME"),
    ("A30-empty name", payload_of(entries(**{"": B})), "ST_NAME"),
    ("A30-name of 2,000 characters", payload_of(entries(**{"c" * 2000: B})), "ST_NAME"),
    ("A30-name of 1 MB", announcing(1_000_100, b'{"' + b"c" * 60), "ST_HEADER_LEN"),
    ("A31-metadata null", payload_of(entries(__metadata__=None)), "ST_META"),
    ("A31-metadata value of 100 kB", payload_of(entries(__metadata__={"k": "v" * 100_000})), "ST_META"),
    ("A31-metadata of torch", payload_of(entries(__metadata__={"format": "pt"})), "ST_META"),
    ("A32-metadata nested", payload_of(entries(__metadata__={"k": {"l": "v"}})), "ST_META"),
    ("A32-metadata not text", payload_of(entries(__metadata__={"k": 1})), "ST_META"),
    ("A33-shape beyond 64 bits", payload_of(entries(a={**A, "shape": [2**62, 2**62]})), "ST_SHAPE"),
    ("A33-shape wraps round to the right size", payload_of(entries(a={**A, "shape": [2**62, 4, 6]})), "ST_SHAPE"),
    ("A33-shape [0, 2^62]", payload_of(entries(a={**A, "shape": [0, 2**62]})), "ST_SHAPE"),
    ("A34-rank 9", payload_of(entries(b={**B, "shape": [3] + [1] * 8})), "ST_SHAPE"),
    ("A34-rank 65", payload_of(entries(b={**B, "shape": [3] + [1] * 64})), "ST_SHAPE"),
    ("A34-rank 1000", payload_of(entries(b={**B, "shape": [3] + [1] * 999})), "ST_SHAPE"),
    ("A35-no tensors", payload_of("{}" + " " * 100), "ST_SCHEMA"),
    ("A35-only metadata", payload_of({"__metadata__": {"k": "v" * 100}}), "ST_META"),
    ("A35-1,025 tensors", payload_of({f"t{i}": B for i in range(1025)}), "ST_SCHEMA"),
    ("A36-pickle", file_of(pickle.dumps(list(range(50)))), "ST_HEADER_LEN"),
    ("A36-zip", file_of(zipped()), "ST_HEADER_LEN"),
    ("A36-npz", file_of(npz()), "ST_HEADER_LEN"),
    ("A36-gzip", file_of(gzip.compress(b"1" * 100, mtime=0)), "ST_HEADER_LEN"),
    ("A36-HDF5", file_of(b"\x89HDF\r\n\x1a\n"), "ST_HEADER_LEN"),
    ("A36-GGUF", file_of(b"GGUF\x03\0\0\0"), "ST_HEADER_LEN"),
    ("A37-half a character in a name", payload_of(raw(extra=f',"\\ud800":{json.dumps(B)}')), "ST_HEADER_JSON"),
    (
        "A38-values in another order",
        payload_of({"a": {**A, "data_offsets": [12, 36]}, "b": {**B, "data_offsets": [0, 12]}}),
        "ST_ORDER",
    ),
]
