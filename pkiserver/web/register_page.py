"""The page of the public register for people: a form, and what is known of a serial number. No script.

In Mongolian and English; states are words, not colours only.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

from pkiserver.clock import utc_text
from pkiserver.status.register import Entry, Found

_STYLE: Final = (
    "body{font:1rem/1.5 sans-serif;color:#1a1a1a;background:#fff;"
    "max-width:48rem;margin:0 auto;padding:1.5rem 1rem}"
    "h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2rem}"
    "h1 span,label span,caption span{display:block;font-weight:400;color:#444;font-size:1rem}"
    "label{display:block;font-weight:700;margin:1.5rem 0 .25rem}.hint{color:#444;margin:.25rem 0}"
    "input{font:1rem monospace;width:100%;box-sizing:border-box;"
    "padding:.5rem;border:2px solid #555;border-radius:4px}"
    "button{font:inherit;margin-top:.75rem;padding:.5rem 1.5rem;"
    "color:#fff;background:#0b4f8a;border:0;border-radius:4px}"
    "input:focus,button:focus,a:focus{outline:3px solid #d97706;outline-offset:2px}"
    ".answer{border-left:.4rem solid #0b4f8a;background:#f3f6f9;padding:.5rem 1rem;margin-top:2rem}"
    ".answer h2{margin-top:.25rem}footer.hint{margin-top:2rem}.wrong{border-color:#a4161a}"
    ".number{font-family:monospace;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:700;margin-top:1rem}"
    "th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #ccc;vertical-align:top}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)

# Each in Mongolian and English.
_STATES: Final = {
    "active": ("Хүчинтэй", "valid"),
    "suspended": ("Түдгэлзүүлсэн", "suspended"),
    "revoked": ("Хүчингүй болгосон", "revoked"),
    "expired": ("Хугацаа дууссан", "expired"),
}
_CHANGES: Final = {
    "issued": ("Олгосон", "issued"),
    "restored": ("Сэргээсэн", "restored"),
    "suspended": _STATES["suspended"],
    "revoked": _STATES["revoked"],
}


def render_page(
    typed: str, found: Sequence[Found] | None, now: datetime, *, problem: tuple[str, str] | None = None
) -> str:
    """Return the page: the form alone where `found` is None, else the answer too, or what is wrong."""
    invalid = ' aria-invalid="true"' if problem else ""
    answer = ""
    if problem is not None:
        answer = _box("wrong", f"<h2>{problem[0]}</h2><p lang='en'>{problem[1]}</p>")
    elif found is not None:
        answer = "".join(_certificate(one, now) for one in found) or _nothing(typed)
    return _PAGE.format(style=_STYLE, typed=escape(typed, quote=True), invalid=invalid, answer=answer)


def _box(kind: str, content: str) -> str:
    return f'<section class="answer {kind}" role="status">{content}</section>'


def _nothing(typed: str) -> str:
    return _box(
        "wrong",
        "<h2>Ийм дугаартай гэрчилгээ олгоогүй</h2>"
        f'<p lang="en">No certificate with the serial number <span class="number">{escape(typed)}</span>'
        " was issued here. Compare it with the number in the certificate.</p>",
    )


def _certificate(found: Found, now: datetime) -> str:
    state = found.state_at(now)
    mongolian, english = _STATES[state]
    rows = "\n".join(
        _row(entry, first=number == 0 and found.from_issuance) for number, entry in enumerate(found.entries)
    )
    return _box(
        state,
        f'<h2>{mongolian} · <span lang="en">{english}</span></h2>'
        f'<p>Серийн дугаар · <span lang="en">Serial number</span>: <span class="number">{found.serial}</span>'
        f'<br>Олгогч · <span lang="en">Issuer</span>: {escape(found.ca)}'
        f'<br>Шалгасан · <span lang="en">As of</span>: {_time(now)}</p>'
        '<table><caption>Түүх <span lang="en">History</span></caption><thead><tr>'
        '<th scope="col">Хугацаа · <span lang="en">Time</span></th>'
        '<th scope="col">Төлөв · <span lang="en">State</span></th>'
        '<th scope="col">Шалтгаан · <span lang="en">Reason</span></th></tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table>",
    )


def _row(entry: Entry, *, first: bool) -> str:
    state = entry.state
    if state == "active":
        state = "issued" if first else "restored"
    mongolian, english = _CHANGES[state]
    reason = f'<span lang="en">{entry.reason}</span>' if entry.reason else "–"
    return (
        f'<tr><td>{_time(entry.at)}</td><td>{mongolian} · <span lang="en">{english}</span></td>'
        f"<td>{reason}</td></tr>"
    )


def _time(moment: datetime) -> str:
    return f'<time datetime="{utc_text(moment)}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


_PAGE: Final = """<!DOCTYPE html>
<html lang="mn">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Гэрчилгээний нийтийн бүртгэл · Public register of certificates</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Гэрчилгээний нийтийн бүртгэл <span lang="en">Public register of certificates</span></h1>
<form action="/register" method="get" role="search">
<label for="serial">Серийн дугаар <span lang="en">Serial number</span></label>
<input id="serial" name="serial" value="{typed}" maxlength="100" required autocomplete="off"
 autocapitalize="off" spellcheck="false" aria-describedby="hint"{invalid}>
<p class="hint" id="hint">Арван зургаатын тоогоор, жишээ нь 5D:2B:81.
<span lang="en">In hexadecimal, colons allowed, for example 5D:2B:81.</span></p>
<button type="submit">Хайх · <span lang="en">Search</span></button>
</form>
{answer}
<footer class="hint">Бүртгэлд иргэний мэдээлэл байхгүй. <span lang="en">The register holds no personal data.
For programs: <a href="/register/feed">/register/feed</a>.</span></footer>
</main>
</body>
</html>
"""
