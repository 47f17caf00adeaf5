"""The page `/crl/` for people: which CRLs and CA certificates there are, and how to check with them.

A pure function of rows; who publishes them knows what is in them. In Mongolian, with English beside. No
script, and nothing from elsewhere: it is served under a policy that allows neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from string import Template
from typing import Final

from protocols.crl import NO_FURTHER_UPDATE


@dataclass(frozen=True, slots=True)
class CRLRow:
    """One CRL that is published; `name` is that of its file, `shard` None for one of all certificates."""

    name: str
    is_delta: bool
    shard: int | None
    number: int
    this_update: datetime
    next_update: datetime
    entries: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class CARow:
    """One authority: its name in files, its certificate's subject and SHA-256, and its CRLs in order.

    `files` are the names of its certificate's files, `/ca/` being where they are.
    """

    name: str
    subject: str
    not_after: datetime
    sha256: bytes
    files: Sequence[str]
    crls: Sequence[CRLRow]


_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, "Noto Sans", sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.6rem; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2.2rem 0 .3rem }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
[lang=en] { opacity: .75; font-weight: normal }
p { margin: .4rem 0 } nav ul { padding-left: 1.2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .92rem }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
th [lang=en], td [lang=en] { display: block; font-size: .85em }
td, th { white-space: nowrap } td.hash { white-space: normal; min-width: 10rem }
code, pre { font: .85em/1.45 ui-monospace, "Noto Sans Mono", monospace } code { overflow-wrap: anywhere }
pre { background: #8882; padding: .8rem; overflow-x: auto }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt } a { color: inherit; text-decoration: none }
  section { break-inside: avoid } .wide, pre { overflow: visible } pre { white-space: pre-wrap }
  table { font-size: 7.5pt } td.hash { min-width: 0; font-size: 6.5pt } th, td { padding-right: .4rem }
}
"""

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="mn">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Хүчингүй болсон гэрчилгээний жагсаалт · Certificate revocation lists</title>
<style>$style</style>
</head>
<body>
<header>
<h1>Хүчингүй болсон гэрчилгээний жагсаалт <span lang="en">Certificate revocation lists</span></h1>
<p>Цаг нь UTC. Хуудсыг үүсгэсэн: <time datetime="$made_iso">$made</time>.
<span lang="en">Times are UTC. This page was made then.</span></p>
</header>
<nav aria-label="Гэрчилгээжүүлэх байгууллага"><ul>
$contents
</ul></nav>
<main>
$authorities
<section aria-labelledby="check">
<h2 id="check">Хэрхэн шалгах вэ <span lang="en">How to check</span></h2>
<p>Татаж авсан файлын гарын үсэг ба хугацааг шалгана.
Гэрчилгээний SHA-256 утгыг энэ хуудаснаас өөр эх сурвалжтай тулгана уу.
<span lang="en">Check the signature and the times of what you downloaded. Compare the fingerprint of a CA
certificate with a source other than this page: it is not signed.</span></p>
<pre>$check</pre>
</section>
</main>
</body>
</html>
""")

_AUTHORITY: Final = Template("""<section aria-labelledby="$anchor">
<h2 id="$anchor">$subject</h2>
<p>Гэрчилгээ <span lang="en">CA certificate</span>: $files;
хүчинтэй хугацаа <span lang="en">valid until</span> $not_after<br>
SHA-256 <code>$sha256</code></p>
$crls
</section>""")

_TABLE: Final = Template("""<div class="wide" role="region" tabindex="0" aria-labelledby="$anchor-crls">
<table>
<caption id="$anchor-crls">Жагсаалтууд <span lang="en">CRLs of $name</span></caption>
<thead><tr>
<th scope="col">Файл<span lang="en">File</span></th>
<th scope="col">Төрөл<span lang="en">Kind</span></th>
<th scope="col" class="n">Дугаар<span lang="en">Number</span></th>
<th scope="col">Гаргасан<span lang="en">This update</span></th>
<th scope="col">Дараагийнх<span lang="en">Next update</span></th>
<th scope="col" class="n">Бичлэг<span lang="en">Entries</span></th>
<th scope="col" class="n">Хэмжээ<span lang="en">Size</span></th>
<th scope="col">SHA-256</th>
</tr></thead>
<tbody>
$rows
</tbody>
</table>
</div>""")

_ROW: Final = Template("""<tr>
<th scope="row"><a href="/crl/$name">$name</a></th>
<td>$kind</td>
<td class="n">$number</td>
<td>$this_update</td>
<td>$next_update</td>
<td class="n">$entries</td>
<td class="n">$size</td>
<td class="hash"><code>$sha256</code></td>
</tr>""")

_NO_CRL: Final = '<p>Жагсаалт хараахан алга. <span lang="en">No CRL yet.</span></p>'
_NO_AUTHORITY: Final = '<p>Одоогоор алга. <span lang="en">There are none yet.</span></p>'
_NO_FURTHER: Final = 'сүүлчийнх <span lang="en">the last one</span>'  # RFC 5280 §4.1.2.5: 99991231235959Z


def crl_page(authorities: Sequence[CARow], now: datetime) -> str:
    """Return the page as HTML, with one table a CA in the order given."""
    links = (f'<li><a href="#{_anchor(ca)}">{escape(ca.subject)}</a></li>' for ca in authorities)
    example = authorities[-1].name if authorities else "NAME"
    return _PAGE.substitute(
        style=_STYLE,
        made=_moment(now),
        made_iso=now.astimezone(UTC).isoformat(),
        contents="\n".join(links),
        authorities="\n".join(_authority(ca) for ca in authorities) or _NO_AUTHORITY,
        check=escape(_check(example)),
    )


def _check(name: str) -> str:
    """Return commands that check a CRL and a certificate; `tests/status` runs them."""
    return (
        f"openssl crl -inform DER -in {name}.crl -CAfile {name}.pem -noout -crlnumber -nextupdate\n"
        f"openssl dgst -sha256 {name}.crl\n"
        f"openssl verify -crl_check -CRLfile {name}.crl -partial_chain -trusted {name}.pem certificate.pem"
    )


def _authority(ca: CARow) -> str:
    anchor = _anchor(ca)
    rows = "\n".join(_row(crl) for crl in ca.crls)
    table = _TABLE.substitute(anchor=anchor, name=escape(ca.name), rows=rows) if rows else _NO_CRL
    files = ", ".join(f'<a href="/ca/{escape(name)}">{escape(name)}</a>' for name in ca.files)
    return _AUTHORITY.substitute(
        anchor=anchor,
        subject=escape(ca.subject),
        files=files,
        not_after=_moment(ca.not_after),
        sha256=ca.sha256.hex(),
        crls=table,
    )


def _row(crl: CRLRow) -> str:
    last = crl.next_update == NO_FURTHER_UPDATE
    return _ROW.substitute(
        name=escape(crl.name),
        kind=_kind(crl),
        number=crl.number,
        this_update=_moment(crl.this_update),
        next_update=_NO_FURTHER if last else _moment(crl.next_update),
        entries=f"{crl.entries:,}",
        size=_size(crl.size),
        sha256=crl.sha256.hex(),
    )


def _kind(crl: CRLRow) -> str:
    mongolian, english = ("өөрчлөлт", "delta") if crl.is_delta else ("бүрэн", "full")
    if crl.shard is not None:
        mongolian, english = f"{mongolian}, {crl.shard}-р хэсэг", f"{english}, shard {crl.shard}"
    return f'{mongolian} <span lang="en">{english}</span>'


def _anchor(ca: CARow) -> str:
    return "ca-" + escape(ca.name)


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _size(octets: int) -> str:
    """Return a size as people read it, in decimal units."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1000)):
        if octets >= factor:
            return f"{octets / factor:.1f} {unit}"
    return f"{octets} B"
