"""The tables as an ORM sees them, for the loop of `bench.peer_orm`."""

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import DeclarativeBase, Mapped, relationship

from app import tables


class Base(DeclarativeBase):
    """The mapped classes share the program's own tables."""

    metadata = tables.metadata


class Signal(Base):
    """A dated event."""

    __table__ = tables.account_signals
    if TYPE_CHECKING:
        account_id: Mapped[str]
        kind: Mapped[str]
        occurred_at: Mapped[datetime]
        value: Mapped[Decimal | None]


class Coverage(Base):
    """Where an account stands."""

    __table__ = tables.coverage
    if TYPE_CHECKING:
        account_id: Mapped[str]
        band: Mapped[str]
        band_since: Mapped[datetime]
        band_rule: Mapped[str]
        owner_id: Mapped[str | None]
        owner_since: Mapped[datetime | None]
        first_owned_at: Mapped[datetime | None]
        waiting_since: Mapped[datetime | None]
        held_by: Mapped[str | None]
        held_from: Mapped[str | None]
        intervention: Mapped[str | None]
        intervention_from: Mapped[str | None]
        intervention_until: Mapped[datetime | None]
        pending: Mapped[dict[str, dict[str, Any]] | None]
        has_risen: Mapped[bool]


class Account(Base):
    """A customer."""

    __table__ = tables.accounts
    if TYPE_CHECKING:
        account_id: Mapped[str]
        status: Mapped[str]
        segment: Mapped[str | None]
        region: Mapped[str | None]
        currency: Mapped[str | None]
        arr: Mapped[Decimal | None]
        expansion_arr: Mapped[Decimal | None]
        strategic_importance: Mapped[int | None]
        adoption: Mapped[Decimal | None]
        contract_term_months: Mapped[int | None]
        renewal_on: Mapped[date | None]
        last_engaged_at: Mapped[datetime | None]
    signals: Mapped[list[Signal]] = relationship(
        Signal, primaryjoin="Account.account_id == foreign(Signal.account_id)", viewonly=True
    )
    coverage: Mapped[Coverage | None] = relationship(
        Coverage, primaryjoin="Account.account_id == foreign(Coverage.account_id)", uselist=False
    )


class Csm(Base):
    """A colleague."""

    __table__ = tables.csms
    if TYPE_CHECKING:
        csm_id: Mapped[str]
        bands: Mapped[list[str]]
        regions: Mapped[list[str]]
        max_accounts: Mapped[int | None]
        active: Mapped[bool]


class Run(Base):
    """A run."""

    __table__ = tables.runs


class BandChange(Base):
    """A row of the history of bands."""

    __table__ = tables.band_history


class OwnerChange(Base):
    """A row of the history of owners."""

    __table__ = tables.owner_history
