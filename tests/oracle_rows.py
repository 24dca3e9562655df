"""Rows of the tables that a decision is made from, as the oracle holds them in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `accounts`."""

    account_id: str
    status: str = "active"
    segment: str | None = None
    region: str | None = None
    language: str | None = None
    standalone: bool = False
    currency: str | None = None
    arr: Decimal | None = None
    expansion_arr: Decimal | None = None
    strategic_importance: int | None = None
    product_complexity: int | None = None
    seats: int | None = None
    adoption: Decimal | None = None
    contract_term_months: int | None = None
    renewal_on: date | None = None
    last_engaged_at: datetime | None = None
    onboarded_at: datetime | None = None
    first_value_at: datetime | None = None
    signed_on: date | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A row of `account_signals`."""

    account_id: str
    signal_id: str
    kind: str
    occurred_at: datetime
    value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """On how many runs a condition held, and when the last of them was counted."""

    weeks: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Coverage:
    """A row of `coverage`. `pending` is empty where the column is NULL."""

    account_id: str
    band: str
    band_since: datetime
    band_rule: str
    owner_id: str | None = None
    first_owned_at: datetime | None = None
    held_by: str | None = None
    held_from: str | None = None
    intervention: str | None = None
    intervention_from: str | None = None
    intervention_until: datetime | None = None
    spent_intervention: str | None = None
    pending: Mapping[str, Pending] = field(default_factory=dict)
    has_risen: bool = False
    fell_with: str | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """A row of `pins`."""

    account_id: str
    band: str | None
    expires_at: datetime
    pinned_at: datetime
    unpinned_at: datetime | None = None
    owner_id: str | None = None
