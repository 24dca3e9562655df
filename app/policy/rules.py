"""The rules of a policy: conditions parsed, references resolved, and options that contradict each other refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.policy.expressions import Expression, Type
from app.policy.facts import Facts, valid
from app.policy.freshness import needs_a_fresh_signal
from app.policy.model import EARNED, NEXT, PREVIOUS, Rule
from app.policy.problems import Path, Problems
from app.policy.shape import RuleShape
from app.policy.tokens import suggestion

TARGETS = (EARNED, NEXT, PREVIOUS)
TAKEN = {
    "left": "an account that left",
    "pin": "a pin",
    "entry": "an account that enters",
    "import": "a loaded band",
    "family": "an account that goes with its family",
}
"""Words that `band_history.rule` holds for what no rule decides."""

_ONLY_FOR = {
    "for_weeks": ("intervene",),
    "overrides_hold": ("graduate",),
    "despite": ("graduate",),
    "grace_weeks": ("graduate",),
    "min_stay_weeks": ("graduate", "demote"),
    "protect_when": ("graduate", "demote"),
}
_PLURAL = {"graduate": "graduations", "demote": "demotions", "intervene": "interventions"}

Found = tuple[Path, str]


def read_rules(raw: Any, facts: Facts, problems: Problems) -> tuple[Rule, ...]:
    """The enabled rules in order; every mistake in any of them, enabled or not, is told."""
    given = [rule if isinstance(rule, dict) else {} for rule in raw] if isinstance(raw, list) else []
    shapes = [valid(RuleShape, rule) for rule in given]
    for index, what in _repeated([rule.get("name") for rule in given]):
        problems.add(("rules", index, "name"), what)
    moves = {rule["name"]: rule.get("move") for rule in given if isinstance(rule.get("name"), str)}
    on = {shape.name for shape in shapes if shape is not None and shape.enabled}
    rules: list[Rule] = []
    for index, (rule, shape) in enumerate(zip(given, shapes, strict=True)):
        path: Path = ("rules", index)
        when = _condition(path, rule, "when", facts)
        protect = _condition(path, rule, "protect_when", facts)
        if isinstance(rule.get("because"), str):
            for what in template_mistakes(rule["because"], facts.types):
                problems.add((*path, "because"), what)
        if shape is None:
            continue
        for keys, what in _mistakes(shape, facts.bands, moves):
            problems.add((*path, *keys), what)
        if shape.overrides_hold and when is not None and not needs_a_fresh_signal(when, facts.signals):
            what = (
                "its condition can be true without a fresh signal; ask for an event in it, as in `tickets > 0 and ...`"
            )
            problems.add((*path, "overrides_hold"), what)
        if shape.enabled and when is not None:
            rules.append(_rule(shape, when, protect, facts.bands, on))
    return tuple(rules)


def template_mistakes(template: str, known: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a `because`: each brace holds the name of a fact, and nothing else."""
    for match in re.finditer(r"\{([^{}]*)\}|[{}]", template):
        name = match.group(1)
        if name is None:
            yield f"column {match.start() + 1}: a brace without its partner; facts stand in braces, as in {{arr}}"
        elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
            yield f"column {match.start() + 1}: `{{{name[:40]}}}` is not a fact; braces hold a fact's name alone"
        elif name not in known:
            yield f"column {match.start() + 1}: unknown fact `{name[:80]}`{suggestion(name, known)}"


def _condition(path: Path, rule: Mapping[str, Any], key: str, facts: Facts) -> Expression | None:
    text = rule.get(key)
    return facts.expression((*path, key), text, Type.BOOLEAN) if isinstance(text, str) else None


def _repeated(names: Sequence[Any]) -> Iterator[tuple[int, str]]:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue
        if name in TAKEN:
            yield index, f"the history says `{name}` of {TAKEN[name]}; choose another name"
        if name in seen:
            yield index, f"rules[{seen[name]}] is already called `{name}`"
        seen.setdefault(name, index)


def _mistakes(shape: RuleShape, bands: Sequence[str], moves: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong with a rule's options, whatever its conditions say."""
    for key, allowed in _ONLY_FOR.items():
        if shape.move not in allowed and getattr(shape, key) is not None:
            yield (
                (key,),
                f"belongs to {' and '.join(_PLURAL[move] for move in allowed)}, and this rule is to {shape.move}",
            )
    if shape.move == "intervene" and shape.for_weeks is None:
        yield ("for_weeks",), "an intervention needs for_weeks: the longest it lasts"
    if shape.grace_weeks is not None and shape.despite is None:
        yield ("grace_weeks",), "needs `despite`: the demotions that wait"
    yield from _target_mistakes(shape, bands)
    yield from _despite_mistakes(shape, moves)
    for key in ("from_", "segments", "except_segments", "despite"):
        names = getattr(shape, key) or ()
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield (key.rstrip("_"),), f"names `{name[:80]}` twice"
    for name in sorted(set(shape.segments or ()) & set(shape.except_segments or ())):
        yield ("except_segments",), f"`{name[:80]}` is also under `segments`"


def _despite_mistakes(shape: RuleShape, moves: Mapping[str, Any]) -> Iterator[Found]:
    demotions = [name for name, move in moves.items() if move == "demote"]
    for index, name in enumerate(shape.despite or ()):
        if name not in moves:
            yield ("despite", index), f"there is no rule `{name[:80]}`{suggestion(name, demotions)}"
        elif moves[name] in ("graduate", "intervene"):
            yield ("despite", index), f"`{name}` is not a demotion"


def _target_mistakes(shape: RuleShape, bands: Sequence[str]) -> Iterator[Found]:
    """What is wrong with `to` and `from`."""
    if not bands:
        return
    allowed = {"graduate": (EARNED, NEXT), "demote": (EARNED, PREVIOUS), "intervene": ()}[shape.move]
    if shape.to in TARGETS and shape.to not in allowed:
        other = f"a band, {' or '.join(allowed)}" if allowed else "a band"
        yield ("to",), f"a rule to {shape.move} goes to {other}, not to {shape.to}"
    elif shape.to not in TARGETS and shape.to not in bands:
        yield ("to",), f"there is no band `{shape.to[:80]}`{suggestion(shape.to, (*bands, *allowed))}"
    elif shape.to in bands and shape.from_ is None and not _reachable(shape, bands):
        where = "below" if shape.move != "demote" else "above"
        yield ("to",), f"no band lies {where} `{shape.to}`, so this rule moves nobody"
    for index, name in enumerate(shape.from_ or ()):
        if name not in bands:
            yield ("from", index), f"there is no band `{name[:80]}`{suggestion(name, bands)}"
        elif (shape.to in bands or shape.to in allowed) and name not in _reachable(shape, bands):
            yield ("from", index), f"`{name}` has nothing to {shape.move} to: {_why_not(shape, bands)}"


def _why_not(shape: RuleShape, bands: Sequence[str]) -> str:
    if shape.to in bands:
        return f"`{shape.to}` is not {'below' if shape.move == 'demote' else 'above'} it"
    return "it is the lowest band" if shape.move == "demote" else "it is the highest band"


def _reachable(shape: RuleShape, bands: Sequence[str]) -> Sequence[str]:
    """The bands from which the rule's move leads to its target in the right direction."""
    if shape.to in bands:
        rank = bands.index(shape.to)
        return bands[rank + 1 :] if shape.move == "demote" else bands[:rank]
    return bands[1:] if shape.move == "demote" else bands[:-1]


def _rule(shape: RuleShape, when: Expression, protect: Expression | None, bands: Sequence[str], on: set[str]) -> Rule:
    default = bands[1:] if shape.move == "demote" else bands[:-1]
    if shape.move == "intervene":
        default = _reachable(shape, bands)
    return Rule(
        name=shape.name,
        move=shape.move,
        when=when,
        because=shape.because,
        to=shape.to,
        from_bands=frozenset(shape.from_ if shape.from_ is not None else default),
        segments=None if shape.segments is None else frozenset(shape.segments),
        except_segments=frozenset(shape.except_segments or ()),
        confirm_weeks=shape.confirm_weeks,
        min_stay_weeks=shape.min_stay_weeks or 0,
        protect_when=protect,
        overrides_hold=bool(shape.overrides_hold),
        despite=frozenset(shape.despite or ()) & on,
        grace_weeks=shape.grace_weeks or 0,
        for_weeks=shape.for_weeks or 0,
    )
