"""Documents of applications and cases as PDF: made, listed, read. Every reading is on record."""

import base64
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from pkiserver.documents.words import Language
from pkiserver.ra.documents import StoredDocument
from pkiserver.ra.registration.roles import Action
from pkiserver.web.api.application_messages import ApplicationPath
from pkiserver.web.api.case_messages import CasePath
from pkiserver.web.api.idempotency import answered
from pkiserver.web.api.operations import Answer, APIServices, Call, Message, Number, Operation
from store.documents import DocumentRecord

Kind = Literal["application_form", "acknowledgement", "decision"]


class ApplicationDocumentPath(ApplicationPath):
    """A document of an application."""

    document: Number


class CaseDocumentPath(CasePath):
    """A document of a case."""

    document: Number


class DocumentRequest(Message):
    """Which document of an application is made, in which language."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "application_form"}]})

    kind: Literal["application_form", "acknowledgement"]
    language: Language = "mn"


class DecisionRequest(Message):
    """In which language the decision of a case is made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"language": "mn"}]})

    language: Language = "mn"


class Document(Message):
    """A document; its SHA-256 is in the audit log, in the record of its making."""

    document: int
    kind: Kind
    language: Language
    application: int | None
    case: int | None
    octets: int
    sha256: str
    made_at: datetime
    made_by: str
    erased_at: datetime | None


class DocumentContent(Document):
    """A document with its octets."""

    pdf: Annotated[str, Field(description="The PDF in Base64.")]


class DocumentList(Message):
    """Documents, the oldest first."""

    items: tuple[Document, ...]


async def make_application_document(
    services: APIServices, call: Call[ApplicationPath, Any, DocumentRequest]
) -> Answer:
    """Make the form IUB-41 once there is a certificate (2.6), or the acknowledgement after hand-over (2.7).

    Made again of the same data it is the document that there is.
    """
    deed = services.registration.documents.make_of_application(
        call.caller.acting, call.path.application, call.body.kind, call.body.language
    )
    return await answered(DocumentRecord, deed, _made)


async def make_case_document(services: APIServices, call: Call[CasePath, Any, DecisionRequest]) -> Answer:
    """Make the decision of a case, once it is decided. Made again it is the document that there is."""
    deed = services.registration.documents.make_of_case(
        call.caller.acting, call.path.case, call.body.language
    )
    return await answered(DocumentRecord, deed, _made)


async def list_application_documents(services: APIServices, call: Call[ApplicationPath, Any, None]) -> Answer:
    """List the documents of an application, the oldest first."""
    found = await services.registration.documents.of_application(call.caller.acting, call.path.application)
    return _listed(found)


async def list_case_documents(services: APIServices, call: Call[CasePath, Any, None]) -> Answer:
    """List the documents of a case, the oldest first."""
    return _listed(await services.registration.documents.of_case(call.caller.acting, call.path.case))


async def read_application_document(
    services: APIServices, call: Call[ApplicationDocumentPath, Any, None]
) -> Answer:
    """Read a document of an application; that is recorded."""
    found = await services.registration.documents.read_of_application(
        call.caller.acting, call.path.application, call.path.document
    )
    return _content(found)


async def read_case_document(services: APIServices, call: Call[CaseDocumentPath, Any, None]) -> Answer:
    """Read a document of a case; that is recorded."""
    found = await services.registration.documents.read_of_case(
        call.caller.acting, call.path.case, call.path.document
    )
    return _content(found)


def _values(record: DocumentRecord) -> dict[str, Any]:
    return {
        "document": record.id,
        "kind": record.kind,
        "language": record.language,
        "application": record.application,
        "case": record.decided_case,
        "octets": record.octets,
        "sha256": record.sha256.hex(),
        "made_at": record.made_at,
        "made_by": record.made_by,
        "erased_at": record.erased_at,
    }


def _made(record: DocumentRecord) -> Answer:
    return Answer(Document(**_values(record)))


def _listed(found: list[DocumentRecord]) -> Answer:
    return Answer(DocumentList(items=tuple(Document(**_values(one)) for one in found)))


def _content(found: StoredDocument) -> Answer:
    pdf = base64.b64encode(found.pdf).decode("ascii")
    return Answer(DocumentContent(**_values(found.record), pdf=pdf))


_OF_APPLICATION: Final = "/applications/{application}/documents"
_OF_CASE: Final = "/cases/{case}/documents"
OPERATIONS: Final = (
    Operation(
        "listApplicationDocuments",
        "GET",
        _OF_APPLICATION,
        "List the documents of an application",
        Action.READ_APPLICATION,
        list_application_documents,
        DocumentList,
        parameters=ApplicationPath,
    ),
    Operation(
        "makeApplicationDocument",
        "POST",
        _OF_APPLICATION,
        "Make the form or the acknowledgement of an application as PDF",
        Action.FINISH_APPLICATION,
        make_application_document,
        Document,
        parameters=ApplicationPath,
        body=DocumentRequest,
    ),
    Operation(
        "readApplicationDocument",
        "GET",
        f"{_OF_APPLICATION}/{{document}}",
        "Read a document of an application",
        Action.READ_APPLICATION,
        read_application_document,
        DocumentContent,
        parameters=ApplicationDocumentPath,
    ),
    Operation(
        "listCaseDocuments",
        "GET",
        _OF_CASE,
        "List the documents of a case",
        Action.READ_CASE,
        list_case_documents,
        DocumentList,
        parameters=CasePath,
    ),
    Operation(
        "makeCaseDocument",
        "POST",
        _OF_CASE,
        "Make the decision of a case as PDF",
        Action.PRINT_DECISION,
        make_case_document,
        Document,
        parameters=CasePath,
        body=DecisionRequest,
    ),
    Operation(
        "readCaseDocument",
        "GET",
        f"{_OF_CASE}/{{document}}",
        "Read a document of a case",
        Action.READ_CASE,
        read_case_document,
        DocumentContent,
        parameters=CaseDocumentPath,
    ),
)
