"""What the status role reads of `pkiserver.toml`, and what it leaves unread."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.loader import load_settings
from config.reference import reference
from config.schema import Settings
from config.schema_status import StatusSettings, load_status_settings
from config.units import Address


def write(folder: Path, text: str) -> Path:
    path = folder / "pkiserver.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", ["", reference()])
def test_the_defaults_are_those_of_all_settings(tmp_path: Path, text: str) -> None:
    loaded, every = load_status_settings(write(tmp_path, text)), Settings()
    assert (loaded.listen, loaded.ocsp, loaded.log) == (every.listen, every.ocsp, every.log)


def test_the_file_of_an_issuing_machine_will_do(tmp_path: Path) -> None:
    """Also where it names what is not on this machine, or is wrong about it."""
    text = """
    public_url = "nonsense"
    [listen]
    http = ["0.0.0.0:80"]
    [ocsp]
    workers = 4
    max_age = "900d"
    [keys]
    store = "no such store"
    [authorities.root]
    subject = 1
    """
    loaded = load_status_settings(write(tmp_path, text))
    assert loaded.listen.http == (Address("0.0.0.0", 80),)  # noqa: S104 - what is configured
    assert loaded.ocsp.workers == 4
    with pytest.raises(ConfigError):
        load_settings(tmp_path / "pkiserver.toml")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[ocsp]\nworkers = 0", "ocsp.workers"),
        ("[listen]\nhttp = ['here']", "listen.http[0]"),
        ("[log]\ncolour = 1", "log.colour"),
        ("[lisen]\nhttp = []", "lisen"),
    ],
)
def test_what_it_reads_must_be_right(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_status_settings(write(tmp_path, text))
    assert [finding.key for finding in caught.value.findings] == [key]


def test_addresses_of_the_command_line() -> None:
    changed = StatusSettings().with_listen({"http": ["127.0.0.1:0"]})
    assert changed.listen.http == (Address("127.0.0.1", 0),)
    assert changed.listen.metrics == StatusSettings().listen.metrics
    with pytest.raises(ConfigError):
        StatusSettings().with_listen({"http": ["nowhere"]})
