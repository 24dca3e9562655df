"""The mistakes of one policy file, gathered while it is read and told all at once, in the order of the file."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError

from app.errors import Mistake, Problem
from app.figures import printable
from app.policy.tokens import suggestion

Path = tuple[str | int, ...]


class Problems:
    """Collects problems by their path into `data`, the file as TOML reads it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.found: list[tuple[Path, str]] = []

    def add(self, path: Path, what: str) -> None:
        """One more problem, at `path`."""
        self.found.append((path, printable(what)))

    def add_shape(self, model: type[BaseModel]) -> None:
        """What pydantic has against the shape of the file."""
        try:
            model.model_validate(self.data)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
                    continue  # pydantic leaves out entries that have mistakes before it counts
                path = tuple(step for step in details["loc"] if step != "[key]")
                self.add(path, _sentence(dict(details), path, model))

    def raise_if_any(self, source: str) -> None:
        """Raises a `Mistake` with every problem once, in the order of the file; `source` names the file."""
        if not self.found:
            return
        ordered = sorted(dict.fromkeys(self.found), key=lambda one: _place(self.data, one[0]))
        count = "1 mistake" if len(ordered) == 1 else f"{len(ordered)} mistakes"
        raise Mistake(f"{source} has {count}:", [Problem(written(path), what) for path, what in ordered])


def written(path: Path) -> str:
    """The path as people write it: `rules[3].when`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step[:80]}" if text else step[:80]
    return printable(text)


def _place(data: Any, path: Path) -> tuple[int, ...]:
    """Where the path stands in the file, to sort by. A key that is missing stands where its table begins."""
    place: list[int] = []
    for step in path:
        if isinstance(data, Mapping) and step in data:
            place.append(list(data).index(step))
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            place.append(step)
            data = data[step]
        else:
            place.append(-1)
            break
    return tuple(place)


_KINDS = {
    "string_type": "should be a text in quotes",
    "int_type": "should be a whole number, without quotes",
    "bool_type": "should be true or false, without quotes",
    "missing": "is missing",
    "model_type": "should be a table, as in { key = value }",
    "mapping_type": "should be a table",
    "dict_type": "should be a table",
    "finite_number": "should be a finite number",
}


def _sentence(  # noqa: C901, PLR0911  a case per kind of mistake
    details: Mapping[str, Any], path: Path, model: type[BaseModel]
) -> str:
    """What pydantic found, in words of ours."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _KINDS:
        return _KINDS[kind]
    match kind:
        case "extra_forbidden":
            return f"unknown key{suggestion(str(path[-1]), _keys_at(model, path[:-1]))}"
        case "literal_error":
            given = details["input"]
            near = suggestion(given, _words(context["expected"])) if isinstance(given, str) else ""
            return f"should be {context['expected']}{near}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch" if "A-Z" in context["pattern"]:
            return "should be three capital letters, as in USD"
        case "string_pattern_mismatch":
            return "should be a name of small letters, digits and _, and start with a letter"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters"
        case "string_too_short":
            return "is empty"
        case "too_short":
            return f"needs at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'}"
        case "too_long":
            return f"has more than {context['max_length']} entries"
    return _bound(kind, context) or str(details["msg"])


def _bound(kind: str, context: Mapping[str, Any]) -> str | None:
    words = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    phrases = {
        "gt": "should be more than",
        "ge": "should be at least",
        "lt": "should be less than",
        "le": "should be at most",
    }
    key = words.get(kind)
    if key is None:
        return None
    limit = Decimal(str(context[key]).removeprefix("Decimal('").removesuffix("')"))  # pydantic gives some as their repr
    return f"{phrases[key]} {limit:,}"


def _words(expected: str) -> Sequence[str]:
    """The words of pydantic's list `'a', 'b' or 'c'`."""
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the table at `path` may have, found by walking the models' annotations."""
    current: Any = model
    for step in path:
        fields = getattr(current, "model_fields", None)
        if fields is None:
            continue
        named = {field.alias or name: field for name, field in fields.items()}
        if step in named:
            current = _model_in(named[str(step)].annotation)
    fields = getattr(current, "model_fields", None) or {}
    return [field.alias or name for name, field in fields.items()]


def _model_in(annotation: Any) -> Any:
    """The model inside an annotation such as tuple[BandShape, ...] or Mapping[str, SegmentShape], if any."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inside in getattr(annotation, "__args__", ()):
        found = _model_in(inside)
        if found is not None:
            return found
    return None
