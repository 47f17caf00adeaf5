"""A SoftHSM token behind `signer/faulty_token.c`, which fails as a control file tells it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "signer" / "faulty_token.c"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def softhsm_module() -> str | None:
    """Return the path of SoftHSM's module, None where it is not installed."""
    if shutil.which("softhsm2-util") is None:
        return None
    return next((path for path in MODULES if Path(path).exists()), None)


def missing() -> str:
    """Return what is missing to build and use the module, "" where nothing is."""
    if softhsm_module() is None:
        return "SoftHSM is not installed (Debian package softhsm2)"
    return "" if shutil.which("gcc") else "gcc is not installed"


def softhsm_configuration(folder: Path) -> Path:
    """Make a token folder in `folder` and return the configuration of a SoftHSM that uses it."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    return configuration


def init_token(configuration: Path, label: str, pin: str) -> None:
    """Make a token where this configuration says."""
    secrets = ("--pin", pin, "--so-pin", "87654321")
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, *secrets]
    environment = os.environ | {"SOFTHSM2_CONF": str(configuration)}
    subprocess.run(command, check=True, capture_output=True, env=environment)


@dataclass(frozen=True)
class FaultyModule:
    """The built module and its control file."""

    path: Path
    control: Path

    @classmethod
    def build(cls, folder: Path, latency_us: int | None = None) -> "FaultyModule":
        """Build the module before SoftHSM's in `folder`: for faults, or one that is slow and nothing else."""
        module = cls(folder / "faulty.so", folder / "fault")
        definitions = [f'-DREAL_MODULE="{softhsm_module()}"', f'-DCONTROL="{module.control}"']
        if latency_us is not None:
            definitions.append(f'-DLATENCY="{latency_us}"')
        warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type")
        options = ("-std=gnu17", *warnings, "-O2", "-shared", "-fPIC", *definitions)
        subprocess.run(["gcc", *options, "-o", str(module.path), str(SOURCE), "-ldl"], check=True)
        return module

    def fail(self, fault: str) -> None:
        """Have this go wrong from now on, as `faulty_token.c` describes it; whole or not at all."""
        prepared = self.control.with_suffix(".new")
        prepared.write_text(fault)
        prepared.replace(self.control)

    def mend(self) -> None:
        """Have nothing go wrong any more."""
        self.control.unlink(missing_ok=True)

    @property
    def struck(self) -> bool:
        """Whether a fault that was to strike once has."""
        return not self.control.exists()

    @property
    def logins(self) -> int:
        """How often a PIN was tried."""
        counted = Path(f"{self.control}.logins")
        return counted.stat().st_size if counted.exists() else 0
