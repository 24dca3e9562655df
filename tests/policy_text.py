"""A policy as the TOML text that says it, for people who have to look at a failure, and for reading it back."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from app.policy.expressions import (
    And,
    Arithmetic,
    Call,
    Case,
    Compare,
    Constant,
    Expression,
    Fact,
    In,
    IsNull,
    Negative,
    Not,
    Or,
)
from app.policy.model import Policy, Rule, SignalFact


def condition_text(expression: Expression) -> str:  # noqa: C901, PLR0911, PLR0912 - a line for each kind of node
    """The SQL of an expression, with brackets around everything that has parts."""
    inner = condition_text
    match expression:
        case Constant(value=None):
            return "NULL"
        case Constant(value=bool() as truth):
            return "TRUE" if truth else "FALSE"
        case Constant(value=Decimal() as number):
            return f"{number:f}"
        case Constant(value=date() as moment):
            return f"'{moment.isoformat()}'"
        case Constant(value=text):
            return "'" + str(text).replace("'", "''") + "'"
        case Fact(name=name):
            return name
        case Compare(op=op, left=left, right=right) | Arithmetic(op=op, left=left, right=right):
            return f"({inner(left)} {op} {inner(right)})"
        case And(items=items):
            return "(" + " and ".join(map(inner, items)) + ")"
        case Or(items=items):
            return "(" + " or ".join(map(inner, items)) + ")"
        case Not(item=item):
            return f"(not {inner(item)})"
        case IsNull(item=item):
            return f"({inner(item)} is null)"
        case In(item=item, choices=choices):
            return f"({inner(item)} in ({', '.join(map(inner, choices))}))"
        case Negative(item=item):
            return f"(-({inner(item)}))"
        case Case(branches=branches, otherwise=otherwise):
            whens = " ".join(f"when {inner(condition)} then {inner(result)}" for condition, result in branches)
            return f"(case {whens} else {inner(otherwise)} end)"
        case Call(name=name, arguments=arguments):
            return f"{name}({', '.join(map(inner, arguments))})"


def policy_text(policy: Policy) -> str:
    """The TOML of a policy. Its floors are written out; the buffer is that of its highest band."""
    lines = [f"name = {quoted(policy.name)}"]
    for band in policy.bands:
        lines += ["", "[[bands]]", f"name = {quoted(band.name)}", f'owner = "{"pool" if band.pooled else "named"}"']
        lines += [f"accounts_per_csm = {band.accounts_per_csm}", f"floor = {policy.floors[None].floor[band.rank]:f}"]
        lines += [f"cadence_days = {band.cadence_days}"] if band.cadence_days is not None else []
    lines += [
        "",
        "[economics]",
        f"currency = {quoted(policy.currency)}",
        f"value = {quoted(condition_text(policy.value))}",
    ]
    lines += [f"buffer = {_buffer(policy, None):f}"]
    for segment in policy.floors:
        if segment is not None:
            floors = [f"{band.name} = {policy.floors[segment].floor[band.rank]:f}" for band in policy.bands]
            lines += ["", f"[economics.segments.{quoted(segment)}]", f"buffer = {_buffer(policy, segment):f}"]
            lines += [f"floors = {{ {', '.join(floors)} }}"]
    lines += ["", "[attributes]", *(f'{name} = "{type_.value}"' for name, type_ in policy.attributes.items())]
    lines += ["", "[signals]", *(f"{signal.name} = {{ {_signal(signal)} }}" for signal in policy.signals.values())]
    lines += ["", "[facts]", *(f"{name} = {quoted(condition_text(node))}" for name, node in policy.facts.items())]
    for rule in policy.rules:
        lines += ["", "[[rules]]", *_rule(rule)]
    lines += ["", "[owners]", f"families = {quoted(policy.owners.families)}"]
    lines += ["", "[calendar]", f'time_zone = "{policy.calendar.time_zone.key}"', ""]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _buffer(policy: Policy, segment: str | None) -> Decimal:
    floors = policy.floors[segment]
    return (1 - floors.demotion[-1] / floors.floor[-1]).normalize()


def _signal(signal: SignalFact) -> str:
    options = [f"kind = {quoted(signal.kind)}", f'measure = "{signal.measure}"', f"event = {str(signal.event).lower()}"]
    options += [f"within_days = {signal.within_days}"] if signal.within_days is not None else []
    options += [f"until_days_ago = {signal.until_days_ago}"] if signal.until_days_ago else []
    options += [f"days_ago = {signal.days_ago}"] if signal.days_ago else []
    return ", ".join(options)


def _names(names: Iterable[str]) -> str:
    return "[" + ", ".join(quoted(name) for name in sorted(names)) + "]"


def _rule(rule: Rule) -> list[str]:
    lines = [f"name = {quoted(rule.name)}", f'move = "{rule.move}"', f"when = {quoted(condition_text(rule.when))}"]
    lines += [f"to = {quoted(rule.to)}", f"from = {_names(rule.from_bands)}", f"because = {quoted(rule.because)}"]
    lines += [f"segments = {_names(rule.segments)}"] if rule.segments is not None else []
    lines += [f"except_segments = {_names(rule.except_segments)}"] if rule.except_segments else []
    lines += [f"confirm_weeks = {rule.confirm_weeks}"] if rule.confirm_weeks > 1 else []
    lines += [f"min_stay_weeks = {rule.min_stay_weeks}"] if rule.min_stay_weeks else []
    lines += [f"protect_when = {quoted(condition_text(rule.protect_when))}"] if rule.protect_when is not None else []
    lines += ["overrides_hold = true"] if rule.overrides_hold else []
    lines += [f"despite = {_names(rule.despite)}"] if rule.despite else []
    lines += [f"grace_weeks = {rule.grace_weeks}"] if rule.grace_weeks else []
    lines += [f"for_weeks = {rule.for_weeks}"] if rule.for_weeks else []
    return lines
