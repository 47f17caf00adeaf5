"""The file of a ceremony: every error at once, before anything else is looked at."""

from pathlib import Path

import pytest
from ceremony_setting import HEAD, ROOT, STORE

from config.ceremony import parse_ceremony, parse_operators
from config.errors import ConfigError

SOUND = HEAD + STORE + "\n" + ROOT


def findings(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "root.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_ceremony(path.read_bytes(), path.name)
    return [str(one) for one in caught.value.findings]


def test_a_sound_one(tmp_path: Path) -> None:
    path = tmp_path / "root.toml"
    path.write_text(SOUND)
    ceremony = parse_ceremony(path.read_bytes(), path.name)
    assert list(ceremony.certificates) == ["root", "citizen", "transcript"]


BROKEN = {
    "no such key": ('key = "root"', 'key = "rooot"', "there is no key 'rooot'"),
    "a key that nothing uses": (
        "[requests.citizen]",
        'spare = { kind = "ec:P-256" }\n[requests.citizen]',
        "is used by nothing",
    ),
    "an issuer below": (
        'issuer = "root"\nkey = "citizen"',
        'issuer = "transcript"\nkey = "citizen"',
        "cannot issue",
    ),
    "a weak key": ('root = { kind = "ec:P-384" }', 'root = { kind = "rsa:1024" }', "keys.root.kind"),
    "a name that is a path": ("[crls.root]", '[crls."../root"]', "is no name"),
    "two stores": (STORE, STORE.replace("}", ', uri = "pkcs11:token=a?module-path=/m.so" }'), "one of uri"),
    "no passphrase": (STORE, 'store = { folder = "keys" }', "belong together"),
    "a CRL without end": ('lifetime = "180d"', "", "a CRL has a lifetime, or is the last"),
    "a CRL of nobody": ('[crls.root]\nissuer = "root"', '[crls.root]\nissuer = "other"', "cannot sign"),
    "a CRL number of 0": ("number = 1", "number = 0", "crls.root.number"),
    "nobody signs": ('certificate = "transcript"', 'certificate = "other"', "transcript.certificate"),
    "an unknown word": ("number = 1", "number = 1\nnumbre = 2", "did you mean number?"),
    "two whom it is for": (
        'lifetime = "10y"',
        f'lifetime = "10y"\nrequest = {{ file = "a", sha256 = "{"0" * 64}" }}',
        "one of key, request and certificate",
    ),
    "a time without zone": (
        'title = "Root of 2026"',
        'title = "x"\nat = 2026-12-01T10:00:00',
        "with its zone",
    ),
}


@pytest.mark.parametrize(("before", "after", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_refused(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in SOUND
    found = findings(tmp_path, SOUND.replace(before, after, 1))
    assert told in "\n".join(found)


def test_every_error_at_once(tmp_path: Path) -> None:
    text = SOUND.replace('lifetime = "20y"', 'lifetime = "20"').replace("number = 1", "number = -1")
    text = text.replace('title = "Root of 2026"\n', "")
    assert len(findings(tmp_path, text)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("quorum = 0\n", "quorum"),
        ('quorum = 2\n[[operators]]\nname = "A"\ncertificate = "a.pem"\n', "no more must sign than may"),
        ("quorum = 1\n" + '[[operators]]\nname = "A"\ncertificate = "a.pem"\n' * 2, "once"),
    ],
)
def test_the_register(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_operators(text.encode(), "operators.toml")
