"""What one remote has for the keys of a plan: statements first, then the heads of what may be used.

Rules:

* A statement is judged by the remote's policy before anything else is asked for, and every time it is used.
* It counts only under the key that it speaks of. The manifest counts only when it is the one that the
  statement names.
* What is not trusted is counted and told in one line. What is *wrong* is told one by one, and never used.
* A remote that does not answer is left alone from then on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin import foreign
from opambin.archive.reader import read_head
from opambin.errors import BadDataError, UnavailableError
from opambin.exchange import names, seen
from opambin.exchange.memory import Slots
from opambin.remote.protocol import Span
from opambin.store.manifest_format import from_json
from opambin.trust.envelope import MAX_STATE_BYTES, Envelope
from opambin.trust.policy import Question, Untrusted, judge, signatures
from opambin.trust.remotestate import Seen, judge_state
from opambin.trust.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from opambin.archive.reader import Head
    from opambin.exchange.memory import Memory
    from opambin.exchange.sources import Source
    from opambin.model import ConeKey, Manifest
    from opambin.trust.remotestate import RemoteState
    from opambin.trust.statement import Packed

MAX_HEAD_BYTES = 80_000_000
HEADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Offer:
    """A snapshot that a remote has and that may be used.

    Attributes:
        source: The remote.
        statement: What was signed about it.
        manifest: Its manifest.
        head: The beginning of its archive.
    """

    source: Source
    statement: Statement
    manifest: Manifest
    head: Head

    @property
    def size(self) -> int:
        """Of its archive, in bytes."""
        return self.statement.archive.size

    @property
    def name(self) -> str:
        """Of its archive in the remote."""
        return names.archive(self.statement.archive.digest)


@dataclass(slots=True)
class Catalogue:
    """The offers of one remote, for the keys that it was asked about.

    Attributes:
        source: The remote.
        memory: What it said before.
        now: When statements are judged, in seconds since 1970.
        environ: Says where is kept what was seen of remotes.
        state: What the remote says of itself, verified.
        offers: Per key, in the order of the slots.
        untrusted: Reason to packages.
        problems: Wrong data, one sentence each.
    """

    source: Source
    memory: Memory
    now: float
    environ: Mapping[str, str] = field(default_factory=dict)
    state: RemoteState | None = None
    offers: dict[ConeKey, list[Offer]] = field(default_factory=dict)
    untrusted: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _state_known: bool = False
    _refusal: str = ""
    _slots: dict[ConeKey, Slots] = field(default_factory=dict)

    def look(self, keys: Iterable[ConeKey]) -> None:
        """Ask for the first slot of every key that is not known yet, in one batch."""
        new = [key for key in dict.fromkeys(keys) if key not in self._slots]
        if not new or self.source.silent:
            return
        self._guarded(lambda: self._first(new))

    def look_deeper(self, keys: Iterable[ConeKey]) -> bool:
        """Ask for further outputs of keys whose first one does not do; tells whether there are any."""
        keys = list(keys)
        before = sum(map(len, self.offers.values()))
        self.look(keys)
        open_ = [key for key in keys if key in self._slots and not self._slots[key].complete]
        if open_ and not self.source.silent:
            self._guarded(lambda: self._rest(open_))
        return sum(map(len, self.offers.values())) > before

    def forget(self, key: ConeKey) -> None:
        """Remember no longer what a key has: the remote no longer has it, or something else."""
        if self.offers.get(key):
            self.memory.keep_slots(self.source.url, {key: Slots()})

    def give_up(self, reason: str) -> None:
        """Leave the remote alone from now on, for this command and those that follow soon."""
        self.source.silent = reason
        self.memory.note_silent(self.source.url, reason)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Run an action that asks the remote; one that does not answer is not asked again."""
        try:
            action()
        except UnavailableError as error:
            self.give_up(str(error))
        except BadDataError as error:
            self.problems.append(f"{self.source.label}: {error}")

    def _first(self, new: Sequence[ConeKey]) -> None:
        self._look_at_state()
        known = self.memory.slots(self.source.url, new)
        self._slots.update(known)
        self._take(known)
        # A statement that was not trusted a while ago may have been signed by somebody else since.
        asked = [
            key for key in new if key not in known or (known[key].statements and not self.offers.get(key))
        ]
        if not asked:
            return
        found = self._ask(dict.fromkeys(asked, 0))
        self._keep({key: Slots(tuple(data), not data) for key, data in found.items()})

    def _look_at_state(self) -> None:
        """Verify what the remote says of itself, once.

        Raises:
            BadDataError: It is wrong, or older than what was seen: nothing of this remote is used.
        """
        if self._state_known:
            return
        self._state_known = True
        what = f"{names.SNAPSHOT} of {self.source.label}"
        data = self.memory.state(self.source.url)
        if data is None:
            data = self.source.remote.get(names.SNAPSHOT, limit=MAX_STATE_BYTES) or b""
            self.memory.keep_state(self.source.url, data)
        try:
            last = seen.load(self.environ, self.source.url)
            if not data:
                self._refusal = f"its {names.SNAPSHOT} has disappeared" if last else ""
                return
            self._judge_state(Envelope.from_json(data, what, limit=MAX_STATE_BYTES), last, what)
        except BadDataError:
            self.source.silent = f"its {names.SNAPSHOT} is not to be believed"
            raise

    def _judge_state(self, envelope: Envelope, last: Seen | None, what: str) -> None:
        policy = self.source.policy
        verdict = judge_state(envelope, policy, int(self.now), last, what)
        if not isinstance(verdict, Untrusted):
            self.state = verdict
            if last != Seen.of(verdict):
                seen.save(self.environ, self.source.url, Seen.of(verdict))
        elif last or policy.state_required or not isinstance(signatures(envelope, policy, what), Untrusted):
            self._refusal = verdict.reason  # an unknown somebody's word, where none is wanted, means nothing

    def _rest(self, open_: Sequence[ConeKey]) -> None:
        waiting = list(open_)
        while waiting:
            found = self._ask({key: len(self._slots[key].statements) for key in waiting})
            more = {}
            for key, data in found.items():
                statements = (*self._slots[key].statements, *data)
                more[key] = Slots(statements, not data or len(statements) >= names.MAX_SLOTS)
            self._keep(more, fresh={key: tuple(data) for key, data in found.items()})
            waiting = [key for key in waiting if not self._slots[key].complete]

    def _ask(self, slots: dict[ConeKey, int]) -> dict[ConeKey, list[bytes]]:
        wanted = {names.slot(key, number): key for key, number in slots.items()}
        answers = self.source.remote.get_many(wanted, limit=names.MAX_STATEMENT_BYTES)
        for fault in getattr(answers, "faults", {}).values():
            self.problems.append(f"{self.source.label}: {fault}")
        found = {}
        for name, key in wanted.items():
            data = answers.get(name)
            found[key] = [] if data is None else [data]
        return found

    def _keep(
        self, found: dict[ConeKey, Slots], fresh: dict[ConeKey, tuple[bytes, ...]] | None = None
    ) -> None:
        self._slots.update(found)
        self.memory.keep_slots(self.source.url, found)
        self._take(found if fresh is None else {key: Slots(data) for key, data in fresh.items()})

    def _take(self, found: dict[ConeKey, Slots]) -> None:
        """Judge statements, and fetch the heads of the archives of those that may be used."""
        accepted = [
            (key, statement)
            for key, slots in found.items()
            for data in slots.statements
            if (statement := self._judged(key, data)) is not None
        ]
        heads, known = self._heads([statement for _, statement in accepted])
        sound: dict[str, bytes] = {}
        for key, statement in accepted:
            data = heads.get(statement.archive)
            if data is None:
                continue
            try:
                offer = self._offer(statement, data)
            except BadDataError as error:
                self.problems.append(f"{self.source.label}: {error}")
            else:
                self.offers.setdefault(key, []).append(offer)
                sound[statement.archive.head_digest] = data
        self.memory.keep_heads({digest: data for digest, data in sound.items() if digest not in known})

    def _judged(self, key: ConeKey, data: bytes) -> Statement | None:
        what = f"statement about {key[:12]}"
        try:
            envelope = Envelope.from_json(data, what)
            question = Question(key, int(self.now), state=self.state)
            verdict = judge(envelope, self.source.policy, question, what)
            if self._refusal and not isinstance(verdict, Untrusted):
                verdict = Untrusted(self._refusal)
        except BadDataError as error:
            self.problems.append(f"{self.source.label}: {error}")
            return None
        if isinstance(verdict, Untrusted):
            self.untrusted.setdefault(verdict.reason, set()).add(_package_of(envelope) or key[:12])
            return None
        return verdict.statement

    def _heads(self, statements: Iterable[Statement]) -> tuple[dict[Packed, bytes], Collection[str]]:
        """Return the heads of archives, and the digests of those that need not be remembered.

        They are remembered by their own digest: under that of the archive, which nobody has seen yet, one
        remote could put what another one is then blamed for.
        """
        wanted = {statement.archive: statement for statement in statements}
        known = self.memory.heads({archive.head_digest for archive in wanted})
        heads = {it: known[it.head_digest] for it in wanted if it.head_digest in known}
        missing = [statement for archive, statement in wanted.items() if archive not in heads]
        if not missing:
            return heads, known
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(HEADS_AT_ONCE, len(missing))) as pool:
            fetched = zip(missing, pool.map(self._head, missing), strict=True)
            return heads | {it.archive: data for it, data in fetched if data is not None}, known

    def _head(self, statement: Statement) -> bytes | None:
        """Fetch the head of an archive; None, and a line, when it is not there."""
        about = f"{self.source.label}: {statement.package}"
        if not 0 < statement.archive.head_size <= min(MAX_HEAD_BYTES, statement.archive.size):
            self.problems.append(f"{about}: a head of {statement.archive.head_size} bytes")
            return None
        span = Span(0, statement.archive.head_size)
        name = names.archive(statement.archive.digest)
        try:
            data = self.source.remote.get(name, limit=statement.archive.head_size, span=span)
        except BadDataError as error:
            self.problems.append(f"{about}: {error}")
            return None
        if data is None:
            self.problems.append(f"{about}: its archive is not there")
        return data

    def _offer(self, statement: Statement, data: bytes) -> Offer:
        """Check the head of an archive against what was signed, and read the manifest.

        Raises:
            BadDataError: It is not what was signed.
        """
        what = f"archive of {statement.package}"
        head = read_head(data, digest=statement.archive.head_digest, what=what)
        digest = hashlib.sha256(head.manifest).hexdigest()
        if digest != statement.manifest_digest:
            raise BadDataError(
                what, "another manifest than was signed", expected=statement.manifest_digest, observed=digest
            )
        manifest = from_json(head.manifest, what)
        differences = statement.differences(manifest, head.manifest)
        if differences:
            raise BadDataError(what, f"the manifest is not what was signed: {'; '.join(differences)}")
        foreign.check(manifest, what)
        return Offer(self.source, statement, manifest, head)


def _package_of(envelope: Envelope) -> str:
    """Return which package an untrusted statement claims to be about; only for a line to people."""
    try:
        return str(Statement.read(envelope, "statement").package)
    except BadDataError:
        return ""
