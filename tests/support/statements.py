"""Counts what is sent to a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event


@dataclass
class Statements:
    """What an engine has executed."""

    selects: list[str] = field(default_factory=list)
    transactions: int = 0


@contextmanager
def counted(engine: Engine) -> Iterator[Statements]:
    """Count SELECTs and transactions inside the block, of all threads."""
    statements = Statements()

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            statements.selects.append(statement)

    def began(_connection: Any) -> None:
        statements.transactions += 1

    event.listen(engine, "before_cursor_execute", executed)
    event.listen(engine, "begin", began)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", executed)
        event.remove(engine, "begin", began)
