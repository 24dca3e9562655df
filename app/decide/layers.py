"""Sub-selects stacked on one another, each adding columns to the rows below.

Postgres would flatten such a stack into one expression in which every use of a column repeats its computation. A fence
(OFFSET 0) between two layers makes each column computed once per row, which keeps both the time and the plan small.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, literal_column, select

Column = ColumnElement[Any]


class Rows(Mapping[str, Column]):
    """The columns of a layer by name."""

    def __init__(self, source: FromClause) -> None:
        self.source = source
        self._columns = {column.key: column for column in source.c}

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def __iter__(self) -> Any:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def where(self, condition: Column) -> Select[Any]:
        """The rows of which the condition holds."""
        return select(*self.values()).select_from(self.source).where(condition)

    def plus(self, columns: Callable[["Rows"], Iterable[Column]], *, name: str, fenced: bool = True) -> "Rows":
        """These rows with further columns, computed from the ones that are here."""
        layer: Select[Any] = select(*self.values(), *columns(self)).select_from(self.source)
        return Rows((layer.offset(literal_column("'0'")) if fenced else layer).subquery(name))
