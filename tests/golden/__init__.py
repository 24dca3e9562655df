"""Outputs that were looked at and found right, one file each. `UPDATE_GOLDEN=1 pytest` writes them anew, to be read in
the diff."""

import os
from pathlib import Path


def check(name: str, actual: str) -> None:
    """The output is, byte for byte, the one in this folder."""
    path = Path(__file__).parent / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(actual.encode())
    assert actual.encode().decode() == path.read_bytes().decode(), f"{name} differs; UPDATE_GOLDEN=1 writes it anew"
