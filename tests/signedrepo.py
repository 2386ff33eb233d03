"""A small published repository with keys, for tests of signatures: no package in it does anything."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from opambin.publish.indexfile import write_index
from opambin.publish.signed.keys import metadata_key, signer
from opambin.publish.signed.profile import LIFETIMES, TopRole
from opambin.publish.signed.rootfiles import draft_first, put_in_force
from opambin.publish.signed.roots import RoleKeys
from opambin.publish.tufmeta import Signing, Wishes, sign_repository
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Keys:
    """Secret keys, made when first asked for."""

    made: dict[str, SecretKey] = field(default_factory=dict)

    def __getitem__(self, name: str) -> SecretKey:
        return self.made.setdefault(name, SecretKey.generate(name))

    def signers(self, *names: str) -> list[CryptoSigner]:
        return [signer(self[name]) for name in names]

    def file(self, folder: Path, name: str) -> str:
        """Write a secret key's file, and return its path."""
        place = folder / f"{name}.secret"
        place.write_text(self[name].reveal() + "\n")
        return str(place)


@dataclass
class Publisher:
    """A folder that is published, and its keys: ``root``, ``targets``, ``online``."""

    folder: Path
    keys: Keys = field(default_factory=Keys)
    now: datetime = NOW

    @classmethod
    def make(cls, folder: Path, *, base_url: str = "http://127.0.0.1:9") -> Publisher:
        """Publish two packages, and sign them."""
        found = cls(folder)
        folder.mkdir(parents=True)
        (folder / "repo").write_text('opam-version: "2.0"\n')
        (folder / "index.html").write_text("<p>packages</p>\n")
        found.package("alpha", "1", base_url=base_url)
        found.package("beta", "1", depends='"alpha" {= "1"}', base_url=base_url)
        found.begin()
        return found

    def package(
        self, name: str, version: str, *, depends: str = "", base_url: str = "http://127.0.0.1:9"
    ) -> str:
        """Write a package with an archive; return the archive's path."""
        data = write_index({f"{name}/README": f"{name} {version}\n".encode() * 50})
        digest = hashlib.sha256(data).hexdigest()
        path = f"archives/{digest[:2]}/{digest[2:]}.tar.gz"
        self.write(path, data)
        text = (
            f'opam-version: "2.0"\nsynopsis: "{name}"\ndepends: [ {depends} ]\n'
            f'url {{\n  src: "{base_url}/{path}"\n  checksum: [ "sha256={digest}" ]\n}}\n'
        )
        self.write(f"packages/{name}/{name}.{version}/opam", text.encode())
        return path

    def write(self, path: str, data: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def begin(self, root: Sequence[str] = ("root",), threshold: int = 1) -> Signing:
        def role(names: Sequence[str], need: int, name: str) -> RoleKeys:
            return RoleKeys(tuple(metadata_key(self.keys[it].public) for it in names), need, LIFETIMES[name])

        roles = {
            TopRole.ROOT: role(root, threshold, "root"),
            TopRole.TARGETS: role(("targets",), 1, "targets"),
            TopRole.SNAPSHOT: role(("online",), 1, "snapshot"),
            TopRole.TIMESTAMP: role(("online",), 1, "timestamp"),
        }
        draft = draft_first(self.folder, roles, self.keys.signers(*root), self.now)
        return put_in_force(self.folder, draft.data, self.keys.signers("targets", "online"), self.now)[1]

    def sign(self, *names: str, wishes: Wishes | None = None, days: float = 0) -> Signing:
        """Sign what has changed, with the keys named, or all below the root; ``days`` from now."""
        signers = self.keys.signers(*(names or ("targets", "online")))
        return sign_repository(self.folder, signers, self.now + timedelta(days=days), wishes)

    def renew(self, days: float = 0) -> Signing:
        return self.sign("online", wishes=Wishes(renew=True), days=days)

    @property
    def root(self) -> bytes:
        return (self.folder / "tuf/1.root.json").read_bytes()

    @property
    def anchors(self) -> list[str]:
        return [self.keys["root"].public.id]

    def copy(self, to: Path) -> Path:
        """Keep the state of now elsewhere."""
        shutil.copytree(self.folder, to)
        return to

    def restore(self, state: Path) -> None:
        """Put a state in place of the present one."""
        shutil.rmtree(self.folder)
        shutil.copytree(state, self.folder)
