"""The JSON Schema of a policy file, by which editors complete keys and mark mistakes while one types.

It follows from the shapes that the file is read by, so that the two cannot differ; `policies/policy.schema.json` is a
copy. Put `#:schema https://…/policy.schema.json`, or a path, on a policy's first line, and editors with Taplo find it.
"""

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from app.policy.cases import CaseShape
from app.policy.shape import PolicyShape

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """The schema as a JSON object; `cases` are spelt out, which the policy's own shape leaves to their reader."""
    _, both = models_json_schema([(PolicyShape, "validation"), (CaseShape, "validation")], by_alias=True)
    shapes = {name.removesuffix("Shape"): shape for name, shape in both["$defs"].items()}
    renamed = json.loads(json.dumps(shapes), object_hook=_tidied)
    policy = renamed.pop("Policy")
    policy["properties"]["cases"]["items"] = {"$ref": "#/$defs/Case"}
    return {"$schema": DIALECT, **policy, "title": "bandshift policy", "$defs": dict(sorted(renamed.items()))}


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


_LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "min_length": "minItems",
    "max_length": "maxItems",
}
"""What pydantic calls the limits of a value that it converts first, and what JSON Schema calls them."""


def _tidied(node: dict[str, Any]) -> dict[str, Any]:
    """A node as editors want it: our tables' names, numbers as numbers, and no null, which TOML does not have."""
    if isinstance(node.get("title"), str):
        del node["title"]
    if isinstance(node.get("$ref"), str):
        node["$ref"] = node["$ref"].removesuffix("Shape")
    for ours, theirs in _LIMITS.items():
        if isinstance(node.get(ours), int | str):
            node[theirs] = _number(node.pop(ours))
    if isinstance(node.get("default"), str) and node.get("type") == "number":
        node["default"] = _number(node["default"])
    if "default" in node and (node["default"] is None or isinstance(node["default"], dict | list)):
        del node["default"]
    if isinstance(node.get("anyOf"), list):
        node["anyOf"] = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
        if len(node["anyOf"]) == 1:
            node = {**node.pop("anyOf")[0], **node}
    return node


def _number(written: int | str) -> float | int:
    """A number that pydantic wrote as a text, to keep it exact."""
    number = float(written)
    return int(number) if number.is_integer() else number
