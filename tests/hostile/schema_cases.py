"""Battery B01 to B08: tensors that are not exactly the spec's, each with the check that must find it."""

from tests.hostile.forged import DATA, A, B, payload_of

SCHEMA_CASES: list[tuple[str, bytes, str]] = [
    ("B01-missing tensor", payload_of({"a": A}, DATA + b"\0" * 60), "SCHEMA_MISSING"),
    (
        "B02-extra tensor",
        payload_of({"a": A, "b": B, "c": {**B, "data_offsets": [36, 48]}}, DATA + b"\0" * 12),
        "SCHEMA_EXTRA",
    ),
    ("B03-other case", payload_of({"A": A, "b": B}), "SCHEMA_MISSING"),
    ("B03-look-alike letter", payload_of({"\u0430": A, "b": B}), "ST_NAME"),
    ("B04-transposed", payload_of({"a": {**A, "shape": [3, 2]}, "b": B}), "SCHEMA_SHAPE"),
    ("B05-one value that would broadcast", payload_of({"a": A, "b": {**B, "shape": [1]}}), "SCHEMA_SHAPE"),
    ("B05-a column that would broadcast", payload_of({"a": A, "b": {**B, "shape": [3, 1]}}), "SCHEMA_SHAPE"),
    ("B06-scalar for a vector", payload_of({"a": A, "b": {**B, "shape": []}}), "SCHEMA_SHAPE"),
    *(
        (f"B07-{dtype}", payload_of({"a": A, "b": {**B, "dtype": dtype}}), "SCHEMA_DTYPE")
        for dtype in ("F64", "I8", "I32", "BOOL", "C64", "F8_E4M3", "F8_E5M2", "F4", "f32", "", "F" * 200, "\ud800")
    ),
    ("B08-F16 where BF16 is due", payload_of({"a": A, "b": {**B, "dtype": "F16"}}), "SCHEMA_DTYPE"),
]
