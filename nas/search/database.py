"""A database that keeps a study: how it is opened, and what happens while it is away.

A server that is restarted, or a network that fails for a while, ends no search: what it reads or
writes is tried again until the database is back.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from functools import partial, wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from sqlalchemy import event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from nas.core.errors import UserError, unknown
from nas.core.interrupts import defer_sigint

PATIENCE_S = 300.0  # seconds that a database may be away
RETRY_S = 2.0  # seconds between two tries
PROXY_PORT = 13000  # of Optuna's gRPC storage proxy, where its URL has none
# Of connections to PostgreSQL.  Without them every try waits a quarter of an hour for a server that
# says nothing at all, since its machine lost power.
TIMEOUTS = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
KINDS = ("grpc", "mysql", "postgresql", "sqlite")  # that Optuna has tried
INSTALL = {
    "postgresql": "pip install 'mobile-nas[postgres]', and give storage=postgresql+psycopg://...",
    "grpc": "pip install 'mobile-nas[grpc]'",
}


class AwayError(ConnectionError):
    """The database does not answer, but may be back soon."""


def open_database(url: str) -> BaseStorage:
    """Optuna's storage at a URL; where a package is missing, a UserError says which."""
    place = urlsplit(url)
    kind = place.scheme.partition("+")[0]
    try:
        if kind == "grpc":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                host, port = place.hostname or "localhost", place.port or PROXY_PORT
                return GrpcStorageProxy(host=host, port=port)
        storage = RDBStorage(url, {"connect_args": _timeouts(url)})
    except NoSuchModuleError:
        raise unknown("kind of storage", kind, KINDS) from None
    except ImportError as error:
        what = INSTALL.get(kind, " ".join(str(error).split()))
        raise UserError(
            f"storage={kind}:// needs a package that is not installed: {what}"
        ) from None
    event.listen(storage.engine, "handle_error", _raise_if_away)
    return optuna.storages.get_storage(storage)


def close_database(storage: BaseStorage) -> None:
    """Close the connections of this thread, and those that none uses; the next use opens others."""
    if isinstance(storage, GrpcStorageProxy):
        storage.close()
    elif isinstance(own := getattr(storage, "_backend", None), RDBStorage):
        own.remove_session()
        own.engine.dispose()


def _timeouts(url: str) -> dict[str, int]:
    """TIMEOUTS, but for what the URL itself says; none for other databases."""
    made = make_url(url)
    if made.get_backend_name() != "postgresql" or "psycopg" not in made.get_driver_name():
        return {}
    return {key: value for key, value in TIMEOUTS.items() if key not in made.query}


def _raise_if_away(context: ExceptionContext) -> None:
    """Tell a lost connection from a mistake, before Optuna tries again by itself.

    It would write a trial twice where the database has it, but could not say so any more.
    """
    away = context.is_disconnect or context.connection is None
    if away and context.sqlalchemy_exception:  # not Ctrl-C, which ends a connection too
        raise AwayError(str(context.original_exception).partition("\n")[0])


def away_errors() -> tuple[type[Exception], ...]:
    """What is raised while a database, or the proxy before it, is away."""
    grpc = sys.modules.get("grpc")
    return (AwayError, grpc.RpcError) if grpc else (AwayError,)


class _Says(Protocol):
    say: Callable[[str], None]


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=_Says)


def patient(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Have a method called again while the database is away; Ctrl-C waits for the end of a call.

    A call that was done, but not answered, is repeated too.  Raises UserError after PATIENCE_S, or
    where the database says that it cannot.
    """

    @wraps(method)
    def tried(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return _until_back(partial(method, self, *args, **kwargs), self.say)

    return tried


def _until_back(call: Callable[[], R], say: Callable[[str], None]) -> R:
    began, said = 0.0, False
    while True:
        try:
            with defer_sigint():
                found = call()
        except away_errors() as error:
            reason, now = reason_of(error), time.monotonic()
            if not began:  # a connection that was lost while it was idle is made anew at once
                began = now
                continue
            if now - began > PATIENCE_S:
                raise UserError(
                    f"storage= is away for {PATIENCE_S:.0f} s now ({reason}): what is done is "
                    "kept, and the same command goes on when it is back"
                ) from None
            if not said:
                say(f"storage   away ({reason}): trying again for {PATIENCE_S:.0f} s")
            said = True
            time.sleep(RETRY_S)
        except (OptunaError, SQLAlchemyError) as error:
            reason = reason_of(error.__cause__ or error)
            raise UserError(
                f"storage= cannot be used ({reason}): mend that, then give the same command again"
            ) from None
        else:
            if said:
                say(f"storage   back after {time.monotonic() - began:.0f} s")
            return found


def reason_of(error: BaseException) -> str:
    """What went wrong, in a line; gRPC's errors print all that is known of a call."""
    details = getattr(error, "details", None)
    return " ".join(str(details() if callable(details) else error).split())[:200]
