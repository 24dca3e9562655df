"""What pydantic finds wrong with the settings, in words of ours, at the place where the value was said.

Its own sentences are not passed on: some quote the value.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from app.settings.catalogue import Path, by_path
from app.settings.sources import Place, Said, Wrong

_KINDS = {
    "missing": "is missing",
    "int_parsing": "should be a whole number",
    "int_parsing_size": "should be a smaller number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "string_type": "should be a text, in quotes",
    "string_too_short": "is empty",
    "string_too_long": "is too long",
    "path_type": "should be a path, in quotes",
    "tuple_type": 'should be a list, as in ["a", "b"]',
    "too_short": "is empty",
}
_BOUNDS = {
    "greater_than": ("gt", "should be more than"),
    "greater_than_equal": ("ge", "should be at least"),
    "less_than_equal": ("le", "should be at most"),
}


def wrong_in(error: ValidationError, said: Mapping[Path, Said], unread: Collection[Path]) -> Iterator[Wrong]:
    """What is wrong, each at the place of its setting, or of the first that was said in its group.

    Nothing is told of a setting that could not be read, nor of a group for want of it: that it is unread was told.
    """
    for details in error.errors(include_url=False, include_input=False):
        path, item = _path(details["loc"])
        if any(one[: len(path)] == path for one in unread):
            continue
        place = _place(path, said)
        what = _sentence(details["type"], details.get("ctx", {}), details["loc"])
        if item is not None:
            what = f"{what}: item {item + 1}"
        name = (said[path].key if path in said else "") or place.name(path)
        if by_path(path) is None:
            name += ":"
        yield Wrong(place, what if str(place) == name else f"{name} {what}")


def _path(loc: tuple[int | str, ...]) -> tuple[Path, int | None]:
    """The path of the setting, without pydantic's tag and marks, and the number of the item in it."""
    names = [str(step) for step in loc if isinstance(step, str) and step != "[key]"]
    if names[0] == "channels" and len(names) > 2:
        del names[2]  # the type of the channel
    numbers = [step for step in loc if isinstance(step, int)]
    return tuple(names), numbers[0] if numbers else None


def _place(path: Path, said: Mapping[Path, Said]) -> Place:
    """Where the setting was said; of one that was not, where the first of its group was."""
    while path not in said and not any(one[: len(path)] == path for one in said):
        path = path[:-1]
    return min(one.place for at, one in said.items() if at[: len(path)] == path)


def _sentence(kind: str, context: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]:,}"
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"should be {context['expected']}"
        case "extra_forbidden":
            return f"is not a setting of a channel of type {loc[2]}"
    return _KINDS.get(kind, "cannot be used")
