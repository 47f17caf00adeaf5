"""Signs the head of the audit log at intervals, keeps it, and has it sent: by file, syslog and mail.

A head is kept and its mails are written in one transaction; each other way follows the kept ones by itself,
in their order and without a gap, at least once.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from config.schema_audit import Audit
from pkiserver.audit import Head
from pkiserver.audit_heads.checking import INSTALLATION, HeadChecker
from pkiserver.audit_heads.signed_head import Outgoing, SignedHead, head_content, head_pem
from pkiserver.audit_heads.troubles import Troubles
from pkiserver.audit_heads.ways import Way
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.clock import Clock, utc_text
from pkiserver.errors import PKIServerError
from pkiserver.health import Cause
from pkiserver.ra.letters.outbox import Letter, Medium, Outbox
from pkiserver.storage import Storage
from protocols import oid
from protocols.errors import ProtocolError
from store import audit as audit_chain
from store import audit_heads, facts
from store.audit_heads import AuditHeadRecord
from store.database import Transaction

TEMPLATE: Final = "audit-head"
MAIL: Final = "mail"  # a way by its name; the others are named as `ways` has them
_SIGNING: Final = "signing"
_EVERY_S: Final = 1.0  # two looks into an index
_BATCH: Final = 100  # heads that are sent at a time
_WAY_DEADLINE_S: Final = 10.0
_STOP_DEADLINE_S: Final = 15.0


class AuditHeads:
    """Makes and sends heads as long as `run` runs; one a server, or a command where none runs."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        signer: MessageSigner,
        checker: HeadChecker,
        outbox: Outbox,
        settings: Audit,
        ways: Mapping[str, Way],
    ) -> None:
        self.checker = checker
        self._storage = storage
        self._clock = clock
        self._signer = signer
        self._outbox = outbox
        self._settings = settings
        self._ways = ways
        self._troubles = Troubles()
        self._working = asyncio.Lock()  # nothing is signed or sent twice at a stop
        self._making = asyncio.Lock()
        self._newest: AuditHeadRecord | None = None
        self._sent: dict[str, AuditHeadRecord] = {}  # the last one that went each way

    @property
    def newest(self) -> AuditHeadRecord | None:
        """The last head that was signed; None before the first, and before `maintain` has looked."""
        return self._newest

    @property
    def sent(self) -> Mapping[str, AuditHeadRecord]:
        """The last head that went each way; of mail, that was written into the outbox."""
        return self._sent

    def cause(self) -> Cause:
        """Tell what fails; it is never a reason to turn clients away."""
        return Cause("audit-heads", ok=True, detail="; ".join(self._troubles.texts()))

    async def run(self) -> None:
        """Do what is due for ever."""
        while True:
            await self.maintain()
            await asyncio.sleep(_EVERY_S)

    async def maintain(self) -> None:
        """Sign a head where one is due, and send what waits; what fails is told by `cause`."""
        async with self._working:
            await self._sign(at_stop=False)
            await self._send()

    async def finish(self) -> None:
        """Before the end: sign what was added since the last head, and try once to send it."""
        try:
            async with asyncio.timeout(_STOP_DEADLINE_S), self._working:
                await self._sign(at_stop=True)
                await self._send()
        except TimeoutError:
            self._troubles.failed(_SIGNING, "the last head could not be signed in time", self._clock.now())

    async def make(self) -> AuditHeadRecord:
        """Sign and keep the head as it is now; `UnavailableError` where that is not possible now."""
        async with self._making:
            await self._signer.identity()  # a new certificate is on record before the head that it signs
            last = await self._storage.read(audit_chain.head)
            now = self._clock.now()
            installation = await self._installation()
            content = head_content(Head.of(last), now, installation)
            head = SignedHead.parse(await self._signer.sign(oid.PKCS7_DATA, content))
            outgoing = await self._outgoing(head)
            made = await self._storage.write(lambda tx: self._keep(tx, outgoing, now))
            self._newest = made
            await self._note_sent(MAIL)
            return made

    async def pem(self, record: AuditHeadRecord) -> str:
        """Return a kept head as text, with all that is needed to check it but the root."""
        return head_pem(await self._outgoing(SignedHead.parse(record.cms)))

    async def _sign(self, *, at_stop: bool) -> None:
        now = self._clock.now()
        if self._troubles.rests(_SIGNING, now) and not at_stop:
            return
        try:
            if await self._is_due(now, at_stop=at_stop):
                await self.make()
        except (PKIServerError, ProtocolError) as error:
            self._troubles.failed(_SIGNING, str(error), now)
        else:
            self._troubles.over(_SIGNING)

    async def _is_due(self, now: datetime, *, at_stop: bool) -> bool:
        """A head is due after the interval, after so many records, and where the clock was set back."""
        if self._newest is None:
            self._newest = await self._storage.read(audit_heads.newest)
            await self._note_sent(MAIL)
        newest = self._newest
        if newest is None:
            return True
        last = await self._storage.read(audit_chain.head, brief=True)
        grown = (last.sequence if last is not None else 0) - newest.sequence
        in_time = timedelta(0) <= now - newest.at < self._settings.head_interval
        return grown >= (1 if at_stop else self._settings.head_records) or not in_time

    async def _installation(self) -> str:
        """Return what names this installation in its heads; made with the first of them."""

        def named(tx: Transaction) -> str:
            known = facts.get(tx, INSTALLATION)
            if known is None:
                known = str(uuid.uuid4())
                facts.put(tx, INSTALLATION, known)
            return known

        found = await self._storage.read(lambda tx: facts.get(tx, INSTALLATION))
        return found if found is not None else await self._storage.write(named)

    async def _outgoing(self, head: SignedHead) -> Outgoing:
        return Outgoing(head, await self.checker.certificates(head))

    def _keep(self, tx: Transaction, outgoing: Outgoing, now: datetime) -> AuditHeadRecord:
        head = outgoing.head
        record = audit_heads.add(tx, head.head.sequence, now, head.encode())
        if self._settings.mail and self._is_to_be_mailed(tx, now):
            for number, address in enumerate(self._settings.mail, start=1):
                self._outbox.write(tx, _letter(record, outgoing, number, address), now)
            audit_heads.note_sent(tx, MAIL, record.id)
        return record

    def _is_to_be_mailed(self, tx: Transaction, now: datetime) -> bool:
        number = audit_heads.sent(tx, MAIL)
        before = audit_heads.get(tx, number) if number is not None else None
        return before is None or not timedelta(0) <= now - before.at < self._settings.mail_interval

    async def _send(self) -> None:
        """Have every way take what waits for it; they do not wait for each other."""
        await asyncio.gather(*(self._follow(name, way) for name, way in self._ways.items()))

    async def _follow(self, name: str, way: Way) -> None:
        newest, before = self._newest, self._sent.get(name)
        now = self._clock.now()
        if (
            newest is None
            or (before is not None and before.id == newest.id)
            or self._troubles.rests(name, now)
        ):
            return
        try:
            if waiting := await self._waiting(name, newest):
                heads = [await self._outgoing(SignedHead.parse(one.cms)) for one in waiting]
                async with asyncio.timeout(_WAY_DEADLINE_S):
                    await way.send(heads)
                await self._storage.write(lambda tx: audit_heads.note_sent(tx, name, waiting[-1].id))
            await self._note_sent(name)
        except (PKIServerError, OSError) as error:  # asyncio's TimeoutError is an OSError
            self._troubles.failed(name, _why(error), now)
        else:
            self._troubles.over(name)

    async def _waiting(self, name: str, newest: AuditHeadRecord) -> Sequence[AuditHeadRecord]:
        """Return the heads that did not go this way yet; a new way begins with the newest one."""

        def begun(tx: Transaction) -> int:
            audit_heads.note_sent(tx, name, newest.id - 1)  # the next ones wait for it, however long it fails
            return newest.id - 1

        number = await self._storage.read(lambda tx: audit_heads.sent(tx, name))
        after = number if number is not None else await self._storage.write(begun)
        return await self._storage.read(lambda tx: audit_heads.after(tx, after, _BATCH))

    async def _note_sent(self, name: str) -> None:
        def last(tx: Transaction) -> AuditHeadRecord | None:
            number = audit_heads.sent(tx, name)
            return audit_heads.get(tx, number) if number is not None else None

        if (record := await self._storage.read(last)) is not None:
            self._sent[name] = record


def _letter(record: AuditHeadRecord, outgoing: Outgoing, number: int, address: str) -> Letter:
    head = outgoing.head
    values = {
        "sequence": str(head.head.sequence),
        "hash": head.head.hash,
        "at": utc_text(head.at),
        "installation": head.installation,
        "head": head_pem(outgoing),
    }
    return Letter(f"audit-head/{record.id}/{number}", TEMPLATE, Medium.MAIL, address, values)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
