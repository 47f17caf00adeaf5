"""`pkiserver.toml`: defaults, the generated reference, and every error at once."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import BaseModel

import config
from config.errors import ConfigError
from config.loader import load_settings
from config.reference import reference
from config.schema import Settings
from config.schema_authorities import Authority
from config.schema_est import MAX_EST_BODY_BYTES
from config.units import Address
from pkiserver.https_side import https_limits
from pkiserver.web.limits import Limits
from protocols.est.request import MAX_BODY_BYTES


def write(folder: Path, text: str) -> Path:
    path = folder / "pkiserver.toml"
    path.write_text(text)
    return path


def findings(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(folder, text))
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.findings)
    assert all(line.startswith("pkiserver.toml: ") and "; " in line for line in lines)
    return [finding.key for finding in caught.value.findings]


def models(model: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models(field.annotation)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    loaded = load_settings(write(tmp_path, ""))
    assert loaded == Settings()
    assert loaded.listen.http == (Address("127.0.0.1", 8080),)
    assert list(loaded.authorities) == ["root", "citizen", "government", "infrastructure"]


def test_the_reference_says_exactly_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, reference())) == Settings()


def test_the_reference_holds_every_option(tmp_path: Path) -> None:
    content = tomllib.loads(reference())
    assert set(content) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(content[name]) == set(field.annotation.model_fields)
    for authority in content["authorities"].values():
        assert set(authority) == set(Authority.model_fields)


@pytest.mark.parametrize("model", [*models(), Authority])
def test_every_option_is_described_in_the_reference(model: type[BaseModel]) -> None:
    text = " ".join(line.removeprefix("# ") for line in reference().splitlines())
    for name, field in model.model_fields.items():
        assert field.description, name
        if model is not Settings or name in ("public_url", "authorities"):
            assert field.description in text, name


def test_the_reference_takes_another_public_url(tmp_path: Path) -> None:
    loaded = load_settings(write(tmp_path, reference("http://pki.example.mn")))
    assert loaded == Settings(public_url="http://pki.example.mn")


@pytest.mark.parametrize("path", sorted((Path(config.__file__).parent / "examples").glob("*.toml")), ids=str)
def test_examples_load(path: Path) -> None:
    assert load_settings(path) != Settings()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('public_url = "https://pki.mn"', ["public_url"]),
        ('public_url = "http://pki.mn/path"', ["public_url"]),
        ('public_url = "http://u@pki.mn"', ["public_url"]),
        ('public_url = "http://pki.mn:99999"', ["public_url"]),
        ("nonsense = 1", ["nonsense"]),
        ("listen = 1", ["listen"]),
        ('[listen]\nhttp = "127.0.0.1:80"', ["listen.http"]),
        ('[listen]\nhttp = ["127.0.0.1:80", "here"]', ["listen.http[1]"]),
        ('[tls]\nmin_version = "1.1"', ["tls.min_version"]),
        ("[tls]\nserver_names = []", ["tls.server_names"]),
        ('[keys]\nqueue = "many"', ["keys.queue"]),
        ("[keys]\nqueue = 0", ["keys.queue"]),
        ("[keys]\nqueue = true", ["keys.queue"]),
        ('[keys]\ndeadline = "0s"', ["keys.deadline"]),
        ('[keys]\npassphrase_file = ""', ["keys"]),
        ("[keys]\nworkers = 0", ["keys.workers"]),
        ('[keys]\nuri = "pkcs11:token=a"', ["keys.uri"]),
        ('[keys]\nstore = "pkcs11"', ["keys.uri"]),
        ('[ocsp]\nmax_age = "12h"\nvalidity = "48h"', ["ocsp.validity"]),
        ('[ocsp]\nmax_age = "13h"', ["ocsp.max_age"]),
        ('[ocsp]\nnonce = "echo"', ["ocsp.nonce"]),
        ("[ocsp]\nhashes = []", ["ocsp.hashes"]),
        ('[ocsp]\nhashes = ["sha1", "md5"]', ["ocsp.hashes[1]"]),
        ('[ocsp]\nhashes = ["sha1", "sha1"]', ["ocsp.hashes"]),
        ("[ocsp]\nqueue = 0", ["ocsp.queue"]),
        (
            '[authorities.infrastructure]\nparent = ""\nsubject = "CN=R"\nocsp_unknown = "good"',
            ["authorities.infrastructure.ocsp_unknown"],
        ),
        ('[est]\nmax_body = "big"', ["est.max_body"]),
        ('[est]\nmax_body = "33KiB"', ["est.max_body"]),
        ('[est]\nmax_body = "0B"', ["est.max_body"]),
        ('[est]\nrealm = "a\\"b"', ["est.realm"]),
        ('[log]\nlevel = "loud"', ["log.level"]),
        ('[registration]\nretention = "6y"', ["registration.retention"]),
        ('[registration]\nretention = "forever"', ["registration.retention"]),
        ('[civil_registry]\nurl = "http://registry.example.mn"', ["civil_registry.url"]),
        ('[civil_registry]\nurl = "https://u:p@registry.example.mn"', ["civil_registry.url"]),
        ('[civil_registry]\nurl = "https://registry.example.mn/?a=1"', ["civil_registry.url"]),
        (
            '[civil_registry]\nurl = "https://registry.example.mn/v1"\nca_file = "ca.pem"',
            ["civil_registry.certificate_file"],
        ),
        ('[civil_registry]\nconnect_timeout = "11s"', ["civil_registry.connect_timeout"]),
        ('[civil_registry]\nmax_answer = "2MiB"', ["civil_registry.max_answer"]),
        ('[authorities.root]\nparent = ""\nsubject = "nothing"', ["authorities.root.subject"]),
        (
            '[authorities.infrastructure]\nparent = ""\nsubject = "CN=R"\nkey = "rsa:1024"',
            ["authorities.infrastructure.key"],
        ),
        ('[authorities.root]\nparent = ""', ["authorities.root.subject"]),
        ('[authorities.root]\nparent = ""\nsubject = "CN=R"', ["authorities.infrastructure"]),
    ],
)
def test_one_error(text: str, keys: list[str], tmp_path: Path) -> None:
    assert findings(tmp_path, text) == keys


HIERARCHY = """
[authorities.root]
parent = ""
subject = "CN=Root"
lifetime = "5y"
[authorities.infrastructure]
subject = "CN=root"
[authorities.Bad]
parent = "nobody"
subject = "CN=Bad"
lifetime = "1d"
"""


def test_hierarchy_rules(tmp_path: Path) -> None:
    assert findings(tmp_path, HIERARCHY) == [
        "authorities",
        "authorities.Bad.parent",
        "authorities.infrastructure.subject",
        "authorities.infrastructure.lifetime",
        "authorities.Bad.responder_lifetime",
    ]


def test_every_error_at_once_also_of_rules_beside_bad_values(tmp_path: Path) -> None:
    text = """
    public_url = "ftp://x"
    [listen]
    htttp = []
    [keys]
    store = "pkcs11"
    queue = -1
    [ocsp]
    workers = 0
    max_age = "3d"
    """
    assert findings(tmp_path, text) == [
        "public_url",
        "listen.htttp",
        "keys.queue",
        "ocsp.workers",
        "keys.uri",
        "ocsp.max_age",
    ]


def test_unknown_keys_are_met_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"listen\.htttp: unknown key, did you mean http\?; keys here: http"
    ):
        load_settings(write(tmp_path, "[listen]\nhtttp = []"))
    with pytest.raises(ConfigError, match=r"authorities\.root\.keys: unknown key, did you mean key\?"):
        load_settings(write(tmp_path, '[authorities.root]\nsubject = "CN=R"\nkeys = "ed25519"'))


@pytest.mark.parametrize("content", [b"a = ", b"\xff = 1", b"#" * (1 << 20) + b"#"])
def test_what_is_no_toml(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pkiserver.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert len(caught.value.findings) == 1


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().ocsp.workers = 2  # type: ignore[misc]  # what the test is about


def test_the_largest_enrolment_is_the_one_that_est_reads() -> None:
    assert Settings().est.max_body == MAX_EST_BODY_BYTES == MAX_BODY_BYTES == Limits().max_body_bytes


def test_the_bounds_of_https_are_those_of_the_listener() -> None:
    assert replace(https_limits(Settings()), max_connections=Limits().max_connections, body_s=0) == replace(
        Limits(), body_s=0
    )


@pytest.mark.parametrize("network", ["10.1.0.7", "10.1.0.0/24", "2001:db8::/48", "::1"])
def test_trusted_proxies_are_networks(network: str) -> None:
    settings = Settings.model_validate({"est": {"trusted_proxies": [network]}})
    assert settings.est.trusted_proxies == (ip_network(network),)


@pytest.mark.parametrize("network", ["10.1.0.1/24", "proxy.example.mn", "10.1.0.0/33", "", 7, "*"])
def test_other_trusted_proxies_are_refused(network: object) -> None:
    with pytest.raises(ValueError, match="is no network"):
        Settings.model_validate({"est": {"trusted_proxies": [network]}})


def test_rules_of_deltas_and_shards(tmp_path: Path) -> None:
    """A delta comes more often than a full CRL, and no authority has the name of another's shard."""
    text = "\n".join(
        f'[authorities.{name}]\nsubject = "CN={name}"\n{more}'
        for name, more in [
            ("root", 'parent = ""\nlifetime = "20y"'),
            ("infrastructure", 'crl_delta_period = "12h"'),
            ("infrastructure-2", "crl_shards = 2"),
        ]
    )
    assert findings(tmp_path, text) == ["authorities", "authorities.infrastructure.crl_delta_period"]
