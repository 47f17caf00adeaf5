"""An officer's token whose unblock code is kept here, and the mail that the officer gets."""

import json
import re
from datetime import timedelta
from typing import Any

from pkiserver.core import Core
from pkiserver.ra.letters.media import FileSink
from pkiserver.ra.letters.outbox import Medium
from pkiserver.ra.letters.postman import Postman
from pkiserver.ra.letters.templates import Templates
from pkiserver.ra.registration.roles import Actor, Assignment, Role
from pkiserver.ra.unblocking import Unblocking
from store import carriers
from store.applications import ApplicationRecord
from store.carriers import CarrierRecord
from tests.ra.officer_setting import NUMBER, SPECIALIST, Organization

TOKEN = "T-1"
CODE = "so-pin-48151623"


class Office:
    """An officer's token whose code is kept, and the mail that the officer gets."""

    def __init__(self, own: Organization, clock: Any, made: ApplicationRecord) -> None:
        self.own, self.core, self.clock, self.made = own, own.core, clock, made
        self.unblocking: Unblocking = own.core.registration.unblocking

    @classmethod
    async def of(cls, core: Core, clock: Any) -> "Office":
        own = await Organization.of(core)
        await core.registration.tokens.receive(SPECIALIST, NUMBER, b"T-1\nT-2", "act 12")
        made = await own.issued()
        await core.registration.tokens.assign(own.officer, NUMBER, TOKEN, made.id)
        await core.registration.unblocking.take_over(SPECIALIST, NUMBER, TOKEN, CODE)
        return cls(own, clock, made)

    @property
    def service(self) -> Actor:
        return Actor("kiosk", (Assignment(Role.SERVICE),), on_behalf_of=self.made.person)

    async def mail(self) -> list[str]:
        """Deliver what waits, and return the words of every letter so far."""
        sink = FileSink(self.core.home.letters)
        postman = Postman(
            storage=self.core.storage,
            clock=self.clock,
            outbox=self.core.registration.outbox,
            templates=Templates(self.core.home.letter_templates),
            ways={Medium.MAIL: sink, Medium.SMS: sink},
            patience=timedelta(days=1),
        )
        while await postman.deliver_due():
            pass
        lines = self.core.home.letters.read_text().splitlines()
        return [one["text"] for one in map(json.loads, lines) if one["to"] == "saraa@tax.gov.mn"]

    async def asked(self, actor: Actor | None = None) -> str:
        """Have a challenge sent and return what the letter says."""
        await self.unblocking.ask(actor or self.own.officer, NUMBER, TOKEN)
        found = re.search(r"\b[A-Z2-7]{4}(-[A-Z2-7]{4}){2}\b", (await self.mail())[-1])
        assert found is not None
        return found[0]

    async def token(self) -> CarrierRecord:
        found = await self.core.storage.read(lambda tx: carriers.with_serial(tx, "token", TOKEN))
        assert found is not None
        return found
