"""Of what kind a failure is: one that passes by itself, a mistake of the user's, or a bug of ours.

`transient`: the same work done again may well succeed. The server or the connection went away, the transaction lost
against another, something was full or took too long, or somebody stopped us. `mistake`: somebody has to put something
right first. `bug`: neither; somebody has to look.
"""

from typing import Literal

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import BandshiftError, Mistake

Failure = Literal["transient", "mistake", "bug"]

_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
"""Classes of SQLSTATE: connection, rollback (serialization, deadlock), resources, intervention, system.

57 has the shut-down of the server, and a statement that was cancelled or timed out.
"""

_TRANSIENT_STATES = frozenset({
    "25006",  # read only: the server is a standby, as in the middle of a failover
    "25P03",  # idle for too long in a transaction
    "25P04",  # a transaction that took too long
    "55006",  # object in use
    "55P03",  # a lock that was not to be had in time
})  # fmt: skip

_MISTAKEN_STATES = frozenset({
    "28000", "28P01",  # the server does not know the user, or not with this password
    "3D000",  # no such database
    "42501",  # the user may not do this: a role that lacks a grant
})  # fmt: skip


def failure_of(error: BaseException) -> Failure:
    """Of what kind the error is. What wraps another is judged by the one that it wraps."""
    match error:
        case Mistake():
            return "mistake"
        case DBAPIError(orig=psycopg.Error() as cause) if not error.connection_invalidated:
            return _of_server(cause)
        case psycopg.Error():
            return _of_server(error)
        case BandshiftError() | DBAPIError(connection_invalidated=True):  # another run, a stale plan, a server away
            return "transient"
        case PoolTimeout() | ConnectionError() | TimeoutError():
            return "transient"
        case _:  # what is no Exception is an interruption: a signal, the end of the process
            return "bug" if isinstance(error, Exception) else "transient"


def _of_server(error: psycopg.Error) -> Failure:
    state = error.sqlstate
    if state is None:  # it is not the server that speaks: a connection that broke is operational
        return "transient" if isinstance(error, psycopg.OperationalError) else "bug"
    if state in _MISTAKEN_STATES:
        return "mistake"
    return "transient" if state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES else "bug"
