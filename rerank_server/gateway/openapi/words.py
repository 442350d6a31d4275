"""The words schemas are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Json = dict[str, object]

STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
BOOLEAN: Json = {"type": "boolean"}
NAME: Json = {"type": ["string", "null"]}
FLAG: Json = {"$ref": "#/components/schemas/Flag"}
FLAG_SCHEMA: Json = {
    "description": "true or false, also as a word; null is as if it were not there.",
    "anyOf": [{"type": "boolean"}, {"type": "string", "enum": ["true", "false"]}, {"type": "null"}],
}


def ref(name: str) -> Json:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def structure(
    description: str,
    properties: Mapping[str, Json],
    required: Sequence[str],
    example: object = None,
) -> Json:
    """Return the schema of an object; keys beside these are allowed."""
    found: Json = {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": list(required),
    }
    if example is not None:
        found["examples"] = [example]
    return found


def array(items: Json, **more: object) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}
