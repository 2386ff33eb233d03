"""The SQLite file under the index: opening, creating, recovering, and the two ways to use it.

Rules:

* It is created whole, with journal mode, tables and snapshots, and then renamed: nobody sees half an index.
* Every write is one ``BEGIN IMMEDIATE`` transaction with a busy timeout: two writers wait for each other.
* On a store that can't be written it is opened read-only, and made in memory when it is not there.
* A damaged file is moved to quarantine and made again, once; what can't be derived from manifests is then
  lost.

Locks are taken in this order: ``store.lock``, ``index.lock``, SQLite's own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

from opambin.errors import BadDataError, UnavailableError
from opambin.store.faults import unavailable
from opambin.store.locks import exclusive_file
from opambin.store.permissions import make_folder, share_file
from opambin.store.staging import DRAFT_PREFIX, Staging

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
SCHEMA = f"""
CREATE TABLE snapshots (
  key TEXT NOT NULL, output TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, size INTEGER NOT NULL,
  built_at INTEGER NOT NULL, last_used INTEGER NOT NULL DEFAULT 0, uses INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (key, output)) WITHOUT ROWID;
CREATE INDEX snapshots_name ON snapshots (name);
CREATE TABLE installed (
  prefix TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, output TEXT NOT NULL,
  changes_digest TEXT NOT NULL, PRIMARY KEY (prefix, name)) WITHOUT ROWID;
CREATE TABLE caches (
  namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, stored_at INTEGER NOT NULL,
  PRIMARY KEY (namespace, key)) WITHOUT ROWID;
CREATE TABLE events (
  time INTEGER NOT NULL, prefix TEXT NOT NULL, package TEXT NOT NULL, key TEXT NOT NULL, result TEXT NOT NULL,
  reason TEXT NOT NULL, seconds REAL NOT NULL, bytes INTEGER NOT NULL, source_bytes INTEGER NOT NULL);
CREATE INDEX events_time ON events (time);
PRAGMA user_version = {SCHEMA_VERSION};
"""
INSERT_SNAPSHOT = (
    "INSERT INTO snapshots (key, output, name, version, size, built_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
# Primary result codes of sqlite3.h; Python has them as constants, but importing sqlite3 is put off.
_BUSY, _LOCKED, _READONLY, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 11, 13, 14, 26

T = TypeVar("T")
Row = tuple[Any, ...]


class Database:
    """The SQLite file of one store; the connection is opened at the first use.

    Args:
        staging: Knows the store's paths and whether it may be written.
        snapshots: Yields a row for every manifest of the store, for making the file again.
        report: Called with a sentence when the file was damaged.
    """

    def __init__(
        self, staging: Staging, snapshots: Callable[[], Iterable[Row]], report: Callable[[str], None]
    ) -> None:
        """Open nothing yet."""
        self._staging = staging
        self._path = staging.layout.index
        self._snapshots = snapshots
        self._report = report
        self._guard = RLock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._owner = 0  # process id
        self._inode = 0
        self._unwritable: UnavailableError | None = None  # why the connection only reads

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._guard:
            self._let_go()

    def __del__(self) -> None:
        """Close what is no longer used: many a command uses one store until its process ends."""
        self._let_go()

    def read(self, statement: str, parameters: Row = ()) -> list[Row]:
        """Return the rows of a query."""
        return self._use(lambda connection: connection.execute(statement, parameters).fetchall())

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Run a statement for every row, in one transaction.

        Raises:
            UnavailableError: The store can't be written.
        """
        if not rows:
            return
        self._staging.refuse_if_readonly()

        def run(connection: sqlite3.Connection) -> None:
            if self._unwritable:
                raise self._unwritable
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(statement, rows)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

        self._use(run)

    def _use(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``action`` on the connection; a damaged file is replaced, and the action run again, once."""
        import sqlite3

        with self._guard:
            try:
                try:
                    return action(self._connected())
                except sqlite3.DatabaseError as error:
                    if _code(error) not in (_CORRUPT, _NOTADB):
                        raise
                    self._recover(str(error))
                    return action(self._connected())
            except sqlite3.Error as error:
                raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> UnavailableError:
        remedy = "make it writable, or name another directory in OPAMBIN_CACHE"
        if _code(error) in (_BUSY, _LOCKED):
            remedy = f"another process has locked it for more than {BUSY_SECONDS:.0f} s"
        elif _code(error) == _FULL:
            remedy = "free some space there, or name another directory in OPAMBIN_CACHE"
        elif _code(error) not in (_READONLY, _CANTOPEN):
            remedy = "remove it, it is made again"
        return UnavailableError(f"{self._path} can't be used: {error}; {remedy}")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._is_current():
            return self._connection
        self._let_go()
        self._connection = self._open()
        self._owner = os.getpid()
        self._inode = _inode(self._path)
        return self._connection

    def _is_current(self) -> bool:
        """Say whether the connection is this process's own, and to the file that is there now."""
        return self._owner == os.getpid() and self._inode == _inode(self._path)

    def _let_go(self) -> None:
        if self._connection is None:
            return
        if self._owner == os.getpid():
            self._connection.close()
        else:
            self._inherited.append(self._connection)  # across a fork a connection must not even be closed
        self._connection = None

    def _open(self) -> sqlite3.Connection:
        self._unwritable = None
        if not self._staging.readonly:
            try:
                return self._open_writable()
            except UnavailableError as error:
                self._unwritable = error
        return self._open_readonly()

    def _open_writable(self) -> sqlite3.Connection:
        import sqlite3

        try:
            if not self._path.exists():
                self._create()
            return self._checked(_connect(f"{self._path.as_uri()}?mode=rw"))
        except OSError as error:
            raise unavailable(error, self._staging.layout.root) from error
        except sqlite3.OperationalError as error:
            if _code(error) not in (_READONLY, _CANTOPEN, _FULL):
                raise
            raise self._translate(error) from error

    def _open_readonly(self) -> sqlite3.Connection:
        """Open without writing; ``immutable`` where SQLite can't even make its side files."""
        import sqlite3

        if not self._path.exists():
            connection = _connect("file::memory:")
            connection.executescript(SCHEMA)
            connection.executemany(INSERT_SNAPSHOT, self._snapshots())
            return connection
        try:
            return self._checked(_connect(f"{self._path.as_uri()}?mode=ro"))
        except sqlite3.OperationalError:
            return self._checked(_connect(f"{self._path.as_uri()}?immutable=1"))

    def _checked(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Return the connection if its file has our tables; else close it and raise."""
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                raise _damage("an empty database")  # SQLite takes an emptied file for a new one
            if version != SCHEMA_VERSION:
                raise BadDataError(
                    self._path,
                    "index of another version of opam-bin",
                    expected=SCHEMA_VERSION,
                    observed=version,
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        """Make the file in ``tmp/`` and link it into place, unless another process has just done so."""
        with self._staging.lock.shared(), exclusive_file(self._staging.layout.locks / "index.lock"):
            if self._path.exists():
                return
            draft = self._staging.layout.tmp / f"{DRAFT_PREFIX}index-{os.getpid()}-{os.urandom(4).hex()}"
            make_folder(draft.parent)
            try:
                connection = _connect(f"{draft.as_uri()}?mode=rwc")
                try:
                    connection.execute("PRAGMA journal_mode = WAL")  # a request: some file systems can't
                    connection.executescript(SCHEMA)
                    connection.execute("BEGIN")
                    connection.executemany(INSERT_SNAPSHOT, self._snapshots())
                    connection.execute("COMMIT")
                finally:
                    connection.close()
                draft.rename(self._path)
                share_file(self._path)
            finally:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    Path(f"{draft}{suffix}").unlink(missing_ok=True)

    def _recover(self, problem: str) -> None:
        """Move a damaged file aside; the next connection makes it again."""
        self._let_go()
        if self._unwritable or self._staging.readonly:
            raise BadDataError(
                self._path, f"damaged index: {problem}; remove it when the store can be written"
            )
        damaged = _inode(self._path)
        with self._staging.lock.shared(), exclusive_file(self._staging.layout.locks / "index.lock"):
            if not damaged or _inode(self._path) != damaged:
                return  # another process has replaced it
            name = f"{self._path.name}-{os.urandom(4).hex()}"
            self._report(f"{self._path}: damaged index ({problem}): kept as quarantine/{name}, made again")
            make_folder(self._staging.layout.quarantine)
            for suffix in ("-wal", "-shm", "-journal", ""):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{suffix}").rename(self._staging.layout.quarantine / f"{name}{suffix}")


def _connect(uri: str) -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(
        uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    try:
        # Derived data: after a power cut a lost transaction is no harm, a damaged file would be made again.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _damage(problem: str) -> sqlite3.DatabaseError:
    import sqlite3

    error = sqlite3.DatabaseError(problem)
    error.sqlite_errorcode = _NOTADB
    return error


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; 0 for errors that Python's module raised by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
