"""The keys of a user: whom to trust, what was revoked, what to sign with.

Files in ``$XDG_CONFIG_HOME/opam-bin/keys/``, and environment variables for machines without files; both are
described in ``docs/formats/signature.md``. Who can write there decides what gets installed, so what others
could write is refused, files and folder; so is a secret that others could read.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from opambin.config import config_folder
from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.trust.keys import SECRET_TAG, KeyId, PublicKey, SecretKey, check_name, is_key_id
from opambin.trust.policy import Role, TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRUSTED_VARIABLE = "OPAMBIN_TRUSTED_KEYS"
REVOKED_VARIABLE = "OPAMBIN_REVOKED_KEYS"
SIGNING_VARIABLE = "OPAMBIN_SIGNING_KEY"
PUBLIC_SUFFIX = ".pub"
SECRET_SUFFIX = ".secret"  # noqa: S105 - of a file's name
REVOKED_FILE = "revoked"
MAX_BYTES = 1_000_000

T = TypeVar("T")
_REVOKED_LINE = re.compile(r"([0-9a-f]{64})(?:\s.*)?")


def parse_trusted(text: str) -> TrustedKey:
    """Read ``[ROLE@]PUBLIC-KEY``; without a role it is a key for releases.

    Raises:
        BadDataError: It is not that.
    """
    before, at, after = text.strip().rpartition("@")
    if at and before not in list(Role):
        raise BadDataError("key", f"{before!r:.40} is no role", expected=" or ".join(Role), observed=before)
    return TrustedKey(PublicKey.parse(after), Role(before) if at else Role.RELEASE)


class Keyring:
    """The keys of one user.

    Args:
        environ: The environment.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.folder: Path = config_folder(environ) / "keys"

    def trusted(self) -> dict[str, TrustedKey]:
        """Return the keys that are trusted, by name; those of the environment win.

        Raises:
            BadDataError: One can't be read as a key.
            MisuseError: Others could write the files, or the environment names two keys alike.
        """
        found = {path.name.removesuffix(PUBLIC_SUFFIX): self._read_public(path) for path in self._files()}
        given: dict[str, TrustedKey] = {}
        for text in self._environ.get(TRUSTED_VARIABLE, "").split():
            key = _from_variable(TRUSTED_VARIABLE, functools.partial(parse_trusted, text))
            if given.setdefault(key.public.name, key) != key:
                raise MisuseError(f"{TRUSTED_VARIABLE}: two keys have the name {key.public.name}")
        return found | given

    def revoked(self) -> frozenset[KeyId]:
        """Return the ids of the keys that must not count.

        Raises:
            BadDataError: A line of the list is none.
            MisuseError: Others could write the list.
        """
        path = self.folder / REVOKED_FILE
        lines = self._read(path).splitlines() if path.exists() else []
        given = self._environ.get(REVOKED_VARIABLE, "").split()
        ids = set()
        for where, line in [*((path, it) for it in lines), *((REVOKED_VARIABLE, it) for it in given)]:
            match = _REVOKED_LINE.fullmatch(line.strip())
            if match:
                ids.add(KeyId(match[1]))
            elif line.strip():
                raise BadDataError(where, f"not the id of a key: {line.strip()!r:.80}")
        return frozenset(ids)

    def secrets(self) -> list[str]:
        """Return the names of the secret keys in files."""
        return [path.name.removesuffix(SECRET_SUFFIX) for path in self._files(SECRET_SUFFIX)]

    def secret(self, name: str = "") -> SecretKey:
        """Return the key to sign with.

        Args:
            name: Which of the files; empty: what the environment gives, or the only file.

        Raises:
            BadDataError: It is not a key.
            MisuseError: Others can read it, or it has to be said which one.
            UnavailableError: There is none.
        """
        given = self._environ.get(SIGNING_VARIABLE, "").strip()
        if name:
            path = self.folder / f"{check_name(name)}{SECRET_SUFFIX}"
            if not path.exists():
                known = ", ".join(self.secrets()) or "none"
                raise UnavailableError(f"there is no secret key {name} in {self.folder}; there are: {known}")
            return self._read_secret(path)
        if given.startswith(f"{SECRET_TAG}:"):
            return _from_variable(SIGNING_VARIABLE, lambda: SecretKey.parse(given))
        if given:
            return _from_variable(SIGNING_VARIABLE, lambda: self._read_secret(Path(given)))
        names = self.secrets()
        if len(names) > 1:
            raise MisuseError(f"which key is to sign? There are {', '.join(names)}; --key names one")
        if not names:
            raise UnavailableError("there is no key to sign with: see opam-bin key generate")
        return self.secret(names[0])

    def has_secret(self) -> bool:
        """Tell whether the user has any key to sign with, usable or not."""
        return bool(self._environ.get(SIGNING_VARIABLE, "").strip()) or bool(self.secrets())

    def add_secret(self, secret: SecretKey) -> Path:
        """Write a secret key into a new file that nobody else can read, and return its path.

        Raises:
            MisuseError: There is one of that name.
            UnavailableError: It can't be written.
        """
        path = self.folder / f"{secret.name}{SECRET_SUFFIX}"
        self._write_new(path, f"{secret.reveal()}\n", 0o600)
        return path

    def add_trusted(self, key: TrustedKey) -> Path:
        """Trust a key; the same one gets a new role.

        Raises:
            MisuseError: Another key has that name, or the key was revoked.
            UnavailableError: It can't be written.
        """
        path = self.folder / f"{key.public.name}{PUBLIC_SUFFIX}"
        if key.public.id in self.revoked():
            raise MisuseError(f"the key {key.public.name} was revoked ({self.folder / REVOKED_FILE})")
        if path.exists():
            if self._read_public(path).public != key.public:
                raise MisuseError(f"another key has the name {key.public.name}: give this one another --name")
            path.unlink()
        self._write_new(path, f"{key.role}@{key.public}\n", 0o644)
        return path

    def revoke(self, key: KeyId, note: str) -> bool:
        """Put a key on the list of those that never count; False when it is there already.

        Args:
            key: Its id.
            note: For people: the name, the time; one line.

        Raises:
            UnavailableError: It can't be written.
        """
        if key in self.revoked():
            return False
        path = self.folder / REVOKED_FILE
        try:
            self._make_folder()
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                stream.write(f"{key} {' '.join(note.split())}\n")
        except OSError as error:
            raise UnavailableError(f"{path} can't be written: {error.strerror}") from error
        return True

    def identify(self, text: str) -> tuple[KeyId, str]:
        """Return id and name of a key that is named by its name, id or text form.

        Raises:
            MisuseError: There is no such key.
        """
        if is_key_id(text):
            return KeyId(text), ""
        if ":" in text:
            public = parse_trusted(text).public
            return public.id, public.name
        trusted = self.trusted()
        if text in trusted:
            return trusted[text].public.id, text
        if text in self.secrets():
            return self.secret(text).public.id, text
        raise MisuseError(f"there is no key {text!r:.80}: give a name, an id of 64 digits, or the key itself")

    def _files(self, suffix: str = PUBLIC_SUFFIX) -> list[Path]:
        if not self.folder.is_dir():
            return []
        _refuse_others(self.folder, self.folder.stat(), stat.S_IWGRP | stat.S_IWOTH, "written")
        return sorted(path for path in self.folder.iterdir() if path.name.endswith(suffix))

    def _read_public(self, path: Path) -> TrustedKey:
        key = parse_trusted(self._read(path))
        if path.name != f"{key.public.name}{PUBLIC_SUFFIX}":
            raise BadDataError(
                path,
                "holds a key of another name",
                expected=f"{key.public.name}{PUBLIC_SUFFIX}",
                observed=path.name,
            )
        return key

    def _read_secret(self, path: Path) -> SecretKey:
        return SecretKey.parse(self._read(path, stat.S_IRWXG | stat.S_IRWXO, "read"))

    def _read(self, path: Path, forbidden: int = stat.S_IWGRP | stat.S_IWOTH, verb: str = "written") -> str:
        """Read a small file after a look at who else may; the open file is looked at, not the name."""
        try:
            with path.open("rb") as stream:
                _refuse_others(path, os.fstat(stream.fileno()), forbidden, verb)
                data = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
        if len(data) > MAX_BYTES:
            raise BadDataError(path, "too large", expected=f"<= {MAX_BYTES} bytes", observed="more")
        return data.decode("utf-8", "replace")

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write_new(self, path: Path, text: str, mode: int) -> None:
        try:
            self._make_folder()
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with os.fdopen(fd, "w", encoding="ascii") as stream:
                os.fchmod(fd, mode)  # whatever the umask
                stream.write(text)
        except FileExistsError as error:
            raise MisuseError(f"{path} exists already") from error
        except OSError as error:
            raise UnavailableError(f"{path} can't be written: {error.strerror}") from error


def _from_variable(name: str, read: Callable[[], T]) -> T:
    """Read what a variable holds or names; its name is in the error."""
    try:
        return read()
    except BadDataError as error:
        problem = f"{error.what}: {error.problem}"
        raise BadDataError(name, problem, expected=error.expected, observed=error.observed) from error
    except UnavailableError as error:
        raise UnavailableError(f"{name}: {error}") from error


def _refuse_others(path: Path, status: os.stat_result, forbidden: int, verb: str) -> None:
    """Refuse a file that others than its owner could read or write, or that belongs to another user.

    Raises:
        MisuseError: They could.
    """
    if status.st_mode & forbidden:
        remedy = "chmod go-w" if verb == "written" else "chmod 600"
        raise MisuseError(f"{path} can be {verb} by others (mode {stat.S_IMODE(status.st_mode):o}): {remedy}")
    if status.st_uid not in (os.geteuid(), 0):
        raise MisuseError(f"{path} belongs to another user (number {status.st_uid})")
