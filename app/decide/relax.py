"""What must be true of an account for a condition to become TRUE, as far as the facts at hand can tell."""

from app.policy.expressions import And, Constant, Expression, Not, Or, Type, facts_of

TRUE = Constant(value=True, type=Type.BOOLEAN)


def necessary(condition: Expression, unknown: frozenset[str]) -> Expression:
    """A condition without the unknown facts that is TRUE wherever `condition` is TRUE for some value of them."""
    if not facts_of(condition) & unknown:
        return condition
    match condition:
        case And(items):
            found = _all(tuple(necessary(item, unknown) for item in items))
        case Or(items):
            found = _any(tuple(necessary(item, unknown) for item in items))
        case Not(And(items)):
            found = necessary(Or(tuple(Not(item) for item in items)), unknown)
        case Not(Or(items)):
            found = necessary(And(tuple(Not(item) for item in items)), unknown)
        case Not(Not(item)):
            found = necessary(item, unknown)
        case _:
            found = TRUE
    return found


def _all(items: tuple[Expression, ...]) -> Expression:
    telling = tuple(item for item in items if item != TRUE)
    if len(telling) > 1:
        return And(telling)
    return telling[0] if telling else TRUE


def _any(items: tuple[Expression, ...]) -> Expression:
    return TRUE if TRUE in items else Or(items)
