"""The JSON Schema of specs, for editors: the sections and shapes of the loader, said in draft-07.

Made from the same tables as the loader, so that what it accepts is what the loader does, as far as structure goes; expressions are only text to it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from . import sections
from .shapes import (
    NAME,
    NOT_NAMES,
    SIGNATURE,
    Choice,
    Either,
    Expression,
    Flag,
    Identifier,
    Lazy,
    ListOf,
    MapOf,
    Number,
    Record,
    Shape,
    Text,
)

Schema: TypeAlias = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
_NOT = f"(?!(?:{'|'.join(NOT_NAMES)})$)"
_NAME = f"^{_NOT}{NAME.pattern}$"
_SIGNATURE = f"^{_NOT}{SIGNATURE.pattern}$"
_NULL: Schema = {"type": "null"}


def json_schema() -> Schema:
    """The schema of one spec file."""
    return {
        "$schema": DRAFT,
        "$id": f"urn:attnc:schema:spec:{sections.VERSION}",
        "title": f"attnc spec, version {sections.VERSION}",
        **_of(sections.SPEC),
        "definitions": {name: _of(shape) for name, shape in sections.NAMED.items()},
    }


def _of(shape: Shape) -> Schema:
    """The schema of a shape, with its documentation."""
    schema = _bare(shape)
    return {"description": shape.doc, **schema} if shape.doc else schema


def _bare(shape: Shape) -> Schema:
    match shape:
        case Expression():
            return {"type": ["string", "number", "boolean"], "pattern": r"\S"}
        case Text():
            return {"type": ["string", "number", "boolean", "null"]}
        case Identifier():
            return {"type": "string", "pattern": _NAME}
        case Number():
            return {"type": "integer" if shape.whole else "number"}
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"enum": list(shape.values)}
        case Lazy():
            return {"$ref": f"#/definitions/{shape.name}"}
        case ListOf():
            items: Schema = {"type": "array", "items": _of(shape.item)}
            return _any(items, _of(shape.item)) if shape.single else items
        case MapOf():
            return _map(shape)
        case Record():
            return _record(shape)
        case Either():
            inner = (shape.scalar, shape.mapping, shape.sequence)
            return _any(*(_of(item) for item in inner if item is not None))


def _map(shape: MapOf) -> Schema:
    value = _of(shape.value)
    pattern = _SIGNATURE if shape.signatures else _NAME
    return {
        "type": "object",
        "patternProperties": {pattern: _any(value, _NULL) if shape.removable else value},
        "additionalProperties": False,
    }


def _record(shape: Record) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {key: _field(key, shape) for key in shape.fields},
        "additionalProperties": False,
    }
    if shape.rest is not None:
        schema["propertyNames"] = {"pattern": _NAME}
        schema["additionalProperties"] = _of(shape.rest)
    if shape.required:
        schema["required"] = list(shape.required)
    if shape.is_choice:
        schema["minProperties"] = schema["maxProperties"] = 1
    return schema


def _field(key: str, shape: Record) -> Schema:
    field = _of(shape.fields[key])
    description = field.pop("description", "")
    if key in shape.removable:
        field = _any(field, _NULL)
    named = {"title": key, "description": description} if description else {"title": key}
    if "$ref" in field:  # what stands beside a reference is ignored in draft-07
        return {**named, "allOf": [field]}
    return {**named, **field}


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}
