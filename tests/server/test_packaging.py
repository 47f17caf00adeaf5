"""The wheel: installed elsewhere, it brings its own data and needs nothing of the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES = ("config", "pkiserver", "protocols", "store")
LOOK = """
import json
from importlib.resources import files
from pathlib import Path
import sys
import config, pkiserver, protocols, store
import pkiserver.cli, pkiserver.app
from config.profile import SHIPPED_PROFILES, load_profiles
from store.database import Database

Database(Path(sys.argv[1])).close()
print(json.dumps({
    "places": [str(Path(module.__file__).parent.parent) for module in (config, pkiserver, protocols, store)],
    "profiles": sorted(load_profiles(SHIPPED_PROFILES, Path("no-such-folder"))),
    "profile_files": [str(SHIPPED_PROFILES)],
    "migrations": sorted(item.name for item in (files("store") / "migrations").iterdir()),
    "typed": [(files(name) / "py.typed").is_file() for name in ("config", "pkiserver", "protocols", "store")],
}))
"""


def run(*words: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that nothing is left in it."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, source / name)
    words = ("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "built", ".")
    run(sys.executable, "-m", "pip", *words, cwd=source, PIP_DISABLE_PIP_VERSION_CHECK="1")
    (built,) = (source / "built").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target")
    words = ("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    run(sys.executable, "-m", "pip", *words, cwd=target, PIP_DISABLE_PIP_VERSION_CHECK="1")
    return target


def python(installed: Path, folder: Path, *words: str) -> str:
    """Run Python with the installed wheel and its dependencies alone: `-S` leaves the checkout out."""
    path = os.pathsep.join([str(installed), sysconfig.get_paths()["purelib"]])
    return run(sys.executable, "-S", "-P", *words, cwd=folder, PYTHONPATH=path)


def test_from_a_foreign_folder(installed: Path, tmp_path: Path) -> None:
    found = json.loads(python(installed, tmp_path, "-c", LOOK, str(tmp_path / "some.db")))
    assert found["places"] == [str(installed)] * len(PACKAGES)
    shipped = {path.stem for path in (CHECKOUT / "config" / "profiles").glob("*.toml")}
    assert set(found["profiles"]) == shipped
    assert found["profile_files"] == [str(installed / "config" / "profiles")]
    migrations = {path.name for path in (CHECKOUT / "store" / "migrations").glob("*.sql")}
    assert migrations <= set(found["migrations"])
    assert found["typed"] == [True] * len(PACKAGES)


def test_the_command(installed: Path, tmp_path: Path) -> None:
    command = "import sys; from pkiserver.cli import main; main(sys.argv[1:], prog_name='pkiserver')"
    assert "Usage: pkiserver" in python(installed, tmp_path, "-c", command, "--help")
    assert (installed / "bin" / "pkiserver").exists()


def test_every_module_is_in_it_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        str(path.relative_to(CHECKOUT))
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert ours <= names
    assert {name.partition("/")[0] for name in names} == set(PACKAGES)
