"""What the tests of loading share: a way to load a few lines of CSV, and to ask what is in a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from app.errors import Mistake
from app.load.datasets import DATASETS, DatasetName
from app.load.mapping import FileMapping, read_mapping
from app.load.outcome import DatasetCounts, LoadResult
from app.load.run import load
from app.policy.model import Policy
from app.policy.read import default_policy

INSTANT = datetime(2026, 3, 2, 6, tzinfo=UTC)


@dataclass(frozen=True)
class Loader:
    """Loads files given as text or bytes into this test's database, at `INSTANT` unless told otherwise."""

    engine: Engine
    folder: Path

    def __call__(
        self,
        *,
        mapping: str = "",
        policy: Policy | None = None,
        quarantine: str | None = None,
        max_errors: int = 20,
        instant: datetime = INSTANT,
        **files: str | bytes,
    ) -> LoadResult:
        return self.load_files(
            mapping=mapping,
            policy=policy,
            quarantine=quarantine,
            max_errors=max_errors,
            instant=instant,
            **{name: self.write(f"{name}.csv", content) for name, content in files.items()},
        )

    def load_files(
        self,
        *,
        mapping: str = "",
        policy: Policy | None = None,
        quarantine: str | None = None,
        max_errors: int = 20,
        instant: datetime = INSTANT,
        **files: Path,
    ) -> LoadResult:
        """As calling it, with files that are there already."""
        return load(
            self.engine,
            {name: files[name] for name in DATASETS if name in files},
            instant=instant,
            run_id=uuid4(),
            mapping=read_mapping(mapping, source="mapping.toml") if mapping else FileMapping(),
            policy=policy or (default_policy() if "coverage" in files else None),
            quarantine=self.folder / quarantine if quarantine else None,
            max_errors=max_errors,
        )

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def mistakes(self, **files: Any) -> list[str]:
        """The lines of the mistake that loading these files is."""
        with pytest.raises(Mistake) as caught:
            self(**files)
        return [str(problem) for problem in caught.value.problems] or [str(caught.value)]

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), parameters)]

    def ids(self, table: str = "accounts", column: str = "account_id") -> list[str]:
        return [str(row[0]) for row in self.rows(f"SELECT {column} FROM {table} ORDER BY 1")]


def counts(result: LoadResult, dataset: DatasetName) -> DatasetCounts:
    """The counts of one dataset."""
    return next(count for count in result.counts if count.dataset == dataset)


def csv_lines(*lines: Sequence[str] | str) -> str:
    """Lines of CSV, each with its line feed."""
    return "".join(line + "\n" if isinstance(line, str) else ",".join(line) + "\n" for line in lines)


@pytest.fixture
def loader(database: Engine, tmp_path: Path) -> Loader:
    return Loader(database, tmp_path)
