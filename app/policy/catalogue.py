"""The facts that every policy has without declaring them: their types, and how people read them.

What each means is in docs/deciding.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from app.policy.expressions import Type

Unit = Literal["money", "percent", "days", "date", "number", "text"]
UNITS: tuple[str, ...] = get_args(Unit)

ACCOUNT_FACTS: Mapping[str, Type] = MappingProxyType(
    {
        "segment": Type.TEXT,
        "region": Type.TEXT,
        "language": Type.TEXT,
        "currency": Type.TEXT,
        "arr": Type.NUMBER,
        "expansion_arr": Type.NUMBER,
        "strategic_importance": Type.NUMBER,
        "product_complexity": Type.NUMBER,
        "seats": Type.NUMBER,
        "adoption": Type.NUMBER,
        "contract_term_months": Type.NUMBER,
        "renewal_on": Type.DATE,
        "last_engaged_at": Type.TIMESTAMP,
        "onboarded_at": Type.TIMESTAMP,
        "first_value_at": Type.TIMESTAMP,
        "signed_on": Type.DATE,
        "standalone": Type.BOOLEAN,
    }
)
"""Columns of `accounts`, as they stand."""

ACCOUNT_DERIVED: Mapping[str, Type] = MappingProxyType(
    {
        "value": Type.NUMBER,
        "earned_band": Type.BAND,
        "value_rank": Type.NUMBER,
        "first_owned_at": Type.TIMESTAMP,
        "days_until_quarter_end": Type.NUMBER,
    }
)
"""Facts of the account that are computed; the same under every lens."""

BAND_FACTS: Mapping[str, Type] = MappingProxyType(
    {
        "band": Type.BAND,
        "floor": Type.NUMBER,
        "demotion_floor": Type.NUMBER,
        "cadence_days": Type.NUMBER,
        "weeks_in_band": Type.NUMBER,
        "quiet_days": Type.NUMBER,
    }
)
"""Facts relative to a band, read through a lens."""

BUILT_IN: Mapping[str, Type] = MappingProxyType({**ACCOUNT_FACTS, **ACCOUNT_DERIVED, **BAND_FACTS})

_BY_TYPE: Mapping[Type, Unit] = MappingProxyType(
    {
        Type.NUMBER: "number",
        Type.TEXT: "text",
        Type.BOOLEAN: "text",
        Type.DATE: "date",
        Type.TIMESTAMP: "date",
        Type.BAND: "text",
    }
)

_SPECIAL: Mapping[str, Unit] = MappingProxyType(
    {
        "arr": "money",
        "expansion_arr": "money",
        "value": "money",
        "floor": "money",
        "demotion_floor": "money",
        "adoption": "percent",
        "cadence_days": "days",
        "quiet_days": "days",
        "days_until_quarter_end": "days",
    }
)


def unit_of(type_: Type) -> Unit:
    """How people read a fact of this type that says nothing more about itself."""
    return _BY_TYPE[type_]


BUILT_IN_UNITS: Mapping[str, Unit] = MappingProxyType(
    {name: _SPECIAL.get(name, unit_of(type_)) for name, type_ in BUILT_IN.items()}
)
