"""The fixed words of documents in Mongolian and English; every text has both."""

from collections.abc import Mapping
from typing import Final, Literal

Language = Literal["mn", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("mn", "en")

# The numbers of IUB-41's fields are those of the paper (regulation, annex 2).
FORM: Final[Mapping[str, tuple[str, str]]] = {
    "form": ("Маягт ИУБ-41", "Form IUB-41"),
    "title": (
        "Тоон гарын үсгийн гэрчилгээ авах өргөдөл",
        "Application for a certificate of digital signature",
    ),
    "application": ("Өргөдлийн дугаар", "Application number"),
    "place": ("1. Аймаг, нийслэл; сум, дүүрэг", "1. Aimag or capital; soum or district"),
    "register_number": ("2. Регистрийн дугаар", "2. Register number"),
    "civil_id": ("3. Иргэний бүртгэлийн дугаар", "3. Civil registration number"),
    "birth_date": ("4. Төрсөн огноо", "4. Date of birth"),
    "parent_name": ("5. Эцэг (эх)-ийн нэр", "5. Parent's name"),
    "clan_name": ("6. Ургийн овог", "6. Clan name"),
    "given_name": ("7. Өөрийн нэр", "7. Given name"),
    "address": ("8. Байнгын оршин суугаа хаяг", "8. Permanent address"),
    "phone": ("9. Утасны дугаар", "9. Telephone"),
    "mail": ("10. Цахим шуудангийн хаяг", "10. E-mail"),
    "applied_on": ("11. Өргөдөл гаргасан огноо", "11. Date of the application"),
    "validity": ("12. Хүчинтэй хугацаа", "12. Validity"),
    "use_restricted": (
        "13. Тоон гарын үсэг ашиглах эрхийг хязгаарласан эсэх",
        "13. Is the right to use the signature restricted?",
    ),
    "value_limited": (
        "14. Хэлцлийн үнийн дүнг хязгаарласан эсэх",
        "14. Is the value of transactions limited?",
    ),
    "limit": ("15. Хязгаарласан үнийн дүн", "15. The limit"),
    "applicant": ("Өргөдөл гаргагчийн гарын үсэг", "Signature of the applicant"),
    "applicant_name": ("Нэр", "Name"),
    "date": ("Огноо", "Date"),
    "checked": (
        "Дээрх мэдээлэл үнэн зөв болохыг шалгаж, баталгаажуулав.",
        "I have checked the data above and confirm that they are true.",
    ),
    "registrar": ("Улсын бүртгэгчийн гарын үсэг, тамга", "Signature and stamp of the registrar"),
    "registrar_name": ("Улсын бүртгэгчийн нэр", "Name of the registrar"),
    "entered_by": ("Бүртгэсэн", "Entered by"),
    "office": ("Бүртгэлийн алба", "Office"),
    "tear_off": ("Таслан авах хэсэг. Иргэнд олгоно.", "To be torn off and given to the citizen."),
    "tear_off_title": ("Тоон гарын үсгийн гэрчилгээ", "Certificate of digital signature"),
    "holder": ("Эзэмшигч", "Holder"),
    "serial": ("Гэрчилгээний дугаар", "Serial number of the certificate"),
    "status": (
        "Гэрчилгээний төлөвийг QR кодоор эсвэл энэ хаягаар шалгана уу:",
        "The QR code and this address lead to the public status of the certificate:",
    ),
    "yes": ("Тийм", "Yes"),
    "no": ("Үгүй", "No"),
    "currency": ("төгрөг", "MNT"),
}
ACKNOWLEDGEMENT: Final[Mapping[str, tuple[str, str]]] = {
    "title": (
        "Тоон гарын үсэг эзэмшигчийн танилцсан тухай баталгаа",
        "Acknowledgement by the holder of a digital signature",
    ),
    "application": ("Өргөдлийн дугаар", "Application number"),
    "holder": ("Эзэмшигч", "Holder"),
    "register_number": ("Регистрийн дугаар", "Register number"),
    "serial": ("Гэрчилгээний дугаар", "Serial number of the certificate"),
    "carrier": ("Тоон гарын үсгийн зөөгч", "Carrier of the signature"),
    "id_card": ("Иргэний үнэмлэх", "Identity card"),
    "token": ("Токен", "Token"),
    "mobile": ("Гар утас", "Mobile telephone"),
    "text_version": ("Тайлбарын хувилбар", "Version of the text"),
    "acknowledged_at": ("Танилцсан хугацаа", "Acknowledged at"),
    "registrar": ("Тайлбарласан улсын бүртгэгч", "Explained by"),
    "intro": (
        "Улсын бүртгэгч дараахыг тайлбарласан бөгөөд би танилцаж, ойлгосон болно:",
        "The registrar has explained the following to me; I have read and understood it:",
    ),
    "holder_signature": ("Эзэмшигчийн гарын үсэг", "Signature of the holder"),
    "registrar_signature": ("Улсын бүртгэгчийн гарын үсэг", "Signature of the registrar"),
    "date": ("Огноо", "Date"),
}
DECISION: Final[Mapping[str, tuple[str, str]]] = {
    "suspend": ("Гэрчилгээг түдгэлзүүлэх тухай шийдвэр", "Decision on the suspension of a certificate"),
    "restore": ("Гэрчилгээг сэргээх тухай шийдвэр", "Decision on the restoration of a certificate"),
    "revoke": ("Гэрчилгээг хүчингүй болгох тухай шийдвэр", "Decision on the revocation of a certificate"),
    "unblock": ("Зөөгчийн түгжээг тайлах тухай шийдвэр", "Decision on the unblocking of a carrier"),
    "case": ("Хэргийн дугаар", "Case number"),
    "holder": ("Эзэмшигч", "Holder"),
    "serial": ("Гэрчилгээний дугаар", "Serial number of the certificate"),
    "asked": ("Хүсэлт", "What was asked"),
    "channel": ("Хүсэлтийн суваг", "By"),
    "ground": ("Үндэслэл", "Ground"),
    "received_at": ("Хүлээн авсан", "Received at"),
    "due_at": ("Шийдвэрлэх хугацаа", "To be decided by"),
    "decision": ("Шийдвэр", "Decision"),
    "granted": ("ХАНГАСАН", "GRANTED"),
    "refused": ("ТАТГАЛЗСАН", "REFUSED"),
    "why": ("Шийдвэрийн үндэслэл", "Reason of the decision"),
    "decided_at": ("Шийдвэрлэсэн", "Decided at"),
    "decided_by": ("Шийдвэрлэсэн албан тушаалтан", "Decided by"),
    "entered_by": ("Бүртгэсэн албан тушаалтан", "Entered by"),
    "office": ("Бүртгэлийн алба", "Office"),
    "lifts": ("Цуцалж буй түдгэлзүүлэлт, хэргийн дугаар", "Ends the hold of case"),
    "evidence": (
        "Эрх бүхий байгууллагын шийдвэр, нотлох баримт",
        "The authority's decision, evidence",
    ),
    "body": ("Байгууллага", "Authority"),
    "number": ("Шийдвэрийн дугаар", "Number of its decision"),
    "date": ("Шийдвэрийн огноо", "Date of its decision"),
    "document": ("Баримт бичиг", "Document"),
    "letter": ("Албан бичгийн дугаар", "Number of the letter"),
    "message": ("Мэдээний дугаар", "Number of the message"),
    "signature": ("Гарын үсэг, тамга", "Signature and stamp"),
    "name": ("Нэр", "Name"),
    "signed_on": ("Огноо", "Date"),
    "systems": (
        "Шийдвэр нь бүртгэлд хадгалагдсан бөгөөд дээрх хугацаанаас эхлэн хүчинтэй.",
        "The decision is on record and took effect at the time above.",
    ),
}
GROUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "holder_request": ("Эзэмшигчийн хүсэлт", "Request of the holder"),
    "carrier_missing": ("Зөөгч алдагдсан", "The carrier is missing"),
    "carrier_found": ("Зөөгч олдсон", "The carrier was found"),
    "carrier_blocked": ("Зөөгч түгжигдсэн", "The carrier is blocked"),
    "carrier_exchanged": ("Зөөгч солигдсон", "The carrier was exchanged"),
    "key_compromised": ("Хувийн түлхүүр задарсан", "The private key is compromised"),
    "authority_decision": ("Эрх бүхий байгууллагын шийдвэр", "Decision of a competent authority"),
    "cause_gone": ("Түдгэлзүүлэх үндэслэл арилсан", "The cause of the suspension is gone"),
    "death": ("Эзэмшигч нас барсан", "Death of the holder"),
    "citizenship_lost": ("Монгол Улсын харьяатаас гарсан", "Citizenship was lost"),
    "name_changed": ("Нэр өөрчлөгдсөн", "The name was changed"),
    "forged_documents": ("Хуурамч баримт бичиг бүрдүүлсэн", "Forged documents"),
    "duties_breached": ("Эзэмшигч үүргээ зөрчсөн", "Breach of the holder's duties"),
    "position_changed": ("Албан тушаал өөрчлөгдсөн", "The position was changed"),
    "officer_left": ("Албан хаагч ажлаас чөлөөлөгдсөн", "The officer has left"),
    "contract_ended": ("Байгууллагын гэрээ дуусгавар болсон", "The contract of the organisation has ended"),
}
CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "written": ("Эзэмшигчийн бичгээр гаргасан хүсэлт", "The holder, in writing"),
    "self_service": ("Эзэмшигч цахимаар", "The holder, online"),
    "authority": ("Эрх бүхий байгууллага", "A competent authority"),
    "civil_registry": ("Иргэний бүртгэл", "The civil registry"),
    "organization": ("Байгууллагын албан бичиг", "The organisation, by official letter"),
}


def words(table: Mapping[str, tuple[str, str]], language: Language) -> dict[str, str]:
    """Return a table in one language."""
    return {name: texts[LANGUAGES.index(language)] for name, texts in table.items()}
