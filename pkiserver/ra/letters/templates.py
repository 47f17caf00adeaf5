"""The words of letters: a template each in Mongolian and English, which an operator can replace.

`NAME.LANGUAGE.mail` begins with the subject line, an empty line, then the text; `NAME.LANGUAGE.sms` is text
alone. A file of the same name in the home's `letters/` goes before the one that is shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pkiserver.errors import UnavailableError
from pkiserver.ra.letters.outbox import Medium

LANGUAGES: Final = ("mn", "en")
SHIPPED: Final = Path(__file__).with_name("templates")
MAX_TEXT_CHARACTERS: Final = 20_000
MAX_SMS_CHARACTERS: Final = 670  # ten parts in UCS-2, 3GPP TS 23.040 §9.2.3.24.1


@dataclass(frozen=True, slots=True, repr=False)
class Words:
    """A letter as it is read; an SMS has no subject."""

    subject: str
    text: str


class Templates:
    """Fills templates; they are read again when their files change."""

    def __init__(self, own: Path) -> None:
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader([own, SHIPPED]),
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
        )

    def fill(self, template: str, language: str, medium: Medium, values: Mapping[str, str]) -> Words:
        """Return the words of a letter; `UnavailableError` where a template is missing or broken."""
        name = f"{template}.{language}.{medium.value}"
        try:
            text = self._environment.get_template(name).render(values)
        except TemplateError as error:  # what it says is not told: values may be secret
            raise UnavailableError(f"the template {name} cannot be filled ({type(error).__name__})") from None
        return _words(name, text, medium)


def _words(name: str, text: str, medium: Medium) -> Words:
    if medium is Medium.SMS:
        text = " ".join(text.split())
        if not 0 < len(text) <= MAX_SMS_CHARACTERS:
            raise UnavailableError(f"the template {name} gives {len(text)} characters: 1 to 670 are allowed")
        return Words("", text)
    subject, _, body = text.partition("\n\n")
    if not subject.strip() or "\n" in subject or not body.strip() or len(text) > MAX_TEXT_CHARACTERS:
        raise UnavailableError(f"the template {name} is a subject line, an empty line, and a text")
    return Words(subject.strip(), body.strip() + "\n")
