"""JSON Schemas of the reports, made from the records themselves.

`python -m latency_sweep.analysis.report.schema` writes the files that are checked in beside this
module; a test compares them.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from latency_sweep.analysis.decision import before_after, block_results, results, verdict
from latency_sweep.analysis.evidence import records, same_event_differences
from latency_sweep.analysis.report.json import SCHEMA_VERSION, SUMMARIES, WORDS

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
RECORDS: Final[dict[str, type]] = {
    "verdict.schema.json": verdict.Verdict,
    "comparison.schema.json": before_after.BeforeAfter,
}
_FIELD: Final = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)


def schema_of(record: type) -> dict[str, Any]:
    """The schema of a report: a record with the report's own keys before it."""
    definitions: dict[str, Any] = {}
    _define(record, definitions)
    body = definitions.pop(record.__name__)
    program = {name: {"type": "string"} for name in ("name", "version")}
    own = {
        "schema_version": {"const": SCHEMA_VERSION},
        "program": {
            "type": "object",
            "properties": program,
            "required": list(program),
            "additionalProperties": False,
        },
    }
    return {
        "$schema": DIALECT,
        "title": record.__name__,
        **body,
        "properties": {**own, **body["properties"]},
        "required": [*own, *body["required"]],
        "$defs": dict(sorted(definitions.items())),
    }


def text_of(record: type) -> str:
    """The schema as it is checked in."""
    return json.dumps(schema_of(record), indent=2) + "\n"


def _define(record: type, definitions: dict[str, Any]) -> None:
    if record.__name__ in definitions:
        return
    definitions[record.__name__] = {}  # known from here on, for records that contain themselves
    if issubclass(record, StrEnum):
        definitions[record.__name__] = {
            "description": _summary(record),
            "enum": [member.value for member in record],
        }
        return
    modules = (records, same_event_differences, results, block_results, verdict, before_after)
    names = {name: value for module in modules for name, value in vars(module).items()}
    assert dataclasses.is_dataclass(record)
    hints = typing.get_type_hints(record, localns=names)
    words = dict(_FIELD.findall(inspect.getdoc(record) or ""))
    properties = {}
    for field in dataclasses.fields(record):
        described = " ".join(words.get(field.name, "").split())
        shape = _shape(hints[field.name], definitions)
        properties[field.name] = {"description": described, **shape} if described else shape
    for written in WORDS.get(record, ()):
        shape = _shape(tuple[str, ...] if written.several else str, definitions)
        properties[written.name] = {"description": written.description, **shape}
    definitions[record.__name__] = {
        "description": _summary(record),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _shape(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        (inner,) = (part for part in arguments if part is not type(None))
        shape = _shape(inner, definitions)
        if "$ref" in shape:
            return {"anyOf": [shape, {"type": "null"}]}
        kinds = shape["type"] if isinstance(shape["type"], list) else [shape["type"]]
        return {**shape, "type": [*(k for k in kinds if k != "null"), "null"]}
    if origin is tuple:
        return {"type": "array", "items": _shape(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _shape(arguments[1], definitions)}
    # Numbers that are not finite become null, so every float may be null.
    plain: dict[Any, Any] = {
        str: "string",
        bool: "boolean",
        int: "integer",
        float: ["number", "null"],
    }
    if hint in plain:
        return {"type": plain[hint]}
    hint = SUMMARIES.get(hint, hint)
    _define(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def _summary(record: type) -> str:
    paragraph = (inspect.getdoc(record) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def main() -> None:
    """Write the schemas beside this module."""
    for name, record in RECORDS.items():
        Path(__file__).with_name(name).write_text(text_of(record), encoding="utf-8")


if __name__ == "__main__":
    main()
