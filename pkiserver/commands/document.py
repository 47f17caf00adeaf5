"""Commands on documents of applications and cases."""

from collections.abc import Mapping
from typing import Any, Final

from pkiserver.commands.registration import office_worker
from pkiserver.commands.services import Caller, CommandEntry, CommandServices
from pkiserver.errors import RefusedError
from store.documents import DocumentRecord

FILE: Final = "document.pdf"


def _document(record: DocumentRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "language": record.language,
        "application": record.application,
        "case": record.decided_case,
        "octets": record.octets,
        "sha256": record.sha256.hex(),
        "made_at": record.made_at.isoformat(),
        "made_by": record.made_by,
        "erased_at": record.erased_at.isoformat() if record.erased_at else None,
    }


async def make_document(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    application: int | None,
    case: int | None,
    kind: str | None,
    language: str,
) -> dict[str, Any]:
    documents, actor = services.registration.documents, office_worker(caller)
    if application is not None and case is None and kind is not None:
        return _document(await documents.make_of_application(actor, application, kind, language))
    if case is not None and application is None and kind is None:
        return _document(await documents.make_of_case(actor, case, language))
    raise RefusedError("a document is of an application, and of one kind, or it is the decision of a case")


async def list_documents(
    services: CommandServices, caller: Caller, /, *, application: int | None, case: int | None
) -> list[dict[str, Any]]:
    documents, actor = services.registration.documents, office_worker(caller)
    if application is not None and case is None:
        return [_document(one) for one in await documents.of_application(actor, application)]
    if case is not None and application is None:
        return [_document(one) for one in await documents.of_case(actor, case)]
    raise RefusedError("documents are listed of one application or one case")


async def read_document(
    services: CommandServices,
    caller: Caller,
    /,
    *,
    document: int,
    application: int | None,
    case: int | None,
) -> dict[str, Any]:
    documents, actor = services.registration.documents, office_worker(caller)
    if application is not None and case is None:
        found = await documents.read_of_application(actor, application, document)
    elif case is not None and application is None:
        found = await documents.read_of_case(actor, case, document)
    else:
        raise RefusedError("a document is of one application or one case")
    await caller.give_file(FILE, found.pdf)
    return _document(found.record)


COMMANDS: Final[Mapping[str, CommandEntry]] = {
    "document.make": CommandEntry(make_document),
    "document.list": CommandEntry(list_documents, reading=True),
    "document.read": CommandEntry(read_document, reading=True),
}
