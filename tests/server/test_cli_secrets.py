"""Commands that come to hold keys, passphrases or PINs shut out debuggers and core dumps before that."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pkiserver.cli import backup as backup_module
from pkiserver.cli import ceremony as ceremony_module
from pkiserver.cli import main

SHUT = 77


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (ceremony_module, ("ceremony", "FILE", "--yes")),
        (backup_module, ("backup", "there")),
        (backup_module, ("restore", "FILE", "--home", "there")),
    ],
    ids=["ceremony", "backup", "restore"],
)
def test_dumps_are_forbidden_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, words: tuple[str, ...]
) -> None:
    def forbid() -> None:
        raise SystemExit(SHUT)

    monkeypatch.setattr(module, "forbid_dumps", forbid)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("read later, if ever")
    found = CliRunner().invoke(main, ["file" if word == "FILE" else word for word in words])
    assert found.exit_code == SHUT
