"""The documents against the program: the tests, commands, options, metrics and codes that they name exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from config.profile import SHIPPED_PROFILES, load_profiles
from config.reference import reference
from config.schema import Settings
from pkiserver.ca import lint, lint_crl
from pkiserver.cli import main
from pkiserver.metrics import Durations, Metrics, Reading
from pkiserver.web.wire import WIRE

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = ROOT / "config" / "examples"
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


# ---- Tests that are named

TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::((?:\w+::)*\w+)`")


@cache
def named_in(path: Path) -> frozenset[str]:
    """Return the tests of a file as pytest names them behind the file: `test_x`, `TestX::test_y`."""

    def found(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield prefix + node.name
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                yield from found(node.body, f"{prefix}{node.name}::")

    return frozenset(found(ast.parse(path.read_text()).body, ""))


@documents
def test_the_tests_named_exist(path: Path) -> None:
    missing = [
        f"{file}::{test}"
        for file, test in TEST_ID.findall(path.read_text())
        if not (ROOT / file).is_file() or test not in named_in(ROOT / file)
    ]
    assert missing == []


def test_every_row_of_the_conformance_table_names_a_test() -> None:
    rows = [
        line for line in text_of("docs/conformance.md").splitlines() if re.match(r"\| (?!Section|--)", line)
    ]
    assert len(rows) > 150
    assert [row for row in rows if not TEST_ID.search(row) or row.count(" | ") != 2] == []


def test_the_conformance_table_has_every_lint_rule() -> None:
    rows = re.findall(r"^\| (.+) \| `(\w+)`: .+ \|", text_of("docs/conformance.md"), re.MULTILINE)
    assert rows == [
        (rule.citation, rule.name) for rule in (*lint.RULES, *lint_crl.RULES, *lint_crl.ENTRY_RULES)
    ]


def test_the_conformance_table_has_every_rule_of_ocsp() -> None:
    file = "tests/protocols/test_ocsp_conformance.py"
    rows = re.findall(
        rf"^\| (.+) \| (.+) \| `{file}::(test_\w+)` \|", text_of("docs/conformance.md"), re.MULTILINE
    )
    ids = re.findall(r'"((?:RFC \d+|X\.690) §[^"]+|our bound: [^"]+)"', text_of(file))
    assert [f"{section} {rule}".replace("own bound ", "our bound: ") for section, rule, _ in rows] == ids


def test_the_conformance_table_has_every_rule_of_ocsp_answers() -> None:
    file = "tests/status/test_ocsp_answers.py"
    rows = re.findall(
        rf"^\| (.+) \| (.+) \| `{file}::test_answer` \|", text_of("docs/conformance.md"), re.MULTILINE
    )
    ids = re.findall(r'^    "((?:RFC \d+ §|our choice: )[^"]+)": Rule\(', text_of(file), re.MULTILINE)
    assert len(ids) > 25
    assert [f"{section} {rule}".replace("own choice ", "our choice: ") for section, rule in rows] == ids


def test_the_conformance_table_has_every_rule_of_cmp() -> None:
    file = "tests/ra/test_cmp_conformance.py"
    rows = re.findall(
        rf"^\| (.+) \| (.+) \| `{file}::test_rule` \|", text_of("docs/conformance.md"), re.MULTILINE
    )
    ids = re.findall(r'^    "(RFC \d+ §[^"]+)": Rule\(', text_of(file), re.MULTILINE)
    assert len(ids) > 60
    assert [f"{section} {rule}" for section, rule in rows] == ids


# ---- Commands


def lines_of_code(text: str) -> Iterator[str]:
    """Yield what stands in code, indented, fenced or between backticks, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the words behind `pkiserver` of each command line in the code of a text."""
    for line in lines_of_code(text):
        match = re.search(r"(?:^|[$#] |do |bin/)pkiserver ((?!is running).+)", line)
        if match:
            command = re.split(r" (?:\||>|#|&&|;)|;|\)$", match[1])[0]
            yield shlex.split(command.replace("…", " "))


def unknown_words(words: list[str]) -> list[str]:
    """Return the words of a command line that the program has no command or option for."""
    command: click.Command = main
    unknown = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            option = options_of(command).get(word)
            if option is None:
                unknown.append(word)
            elif not option.is_flag and rest:
                rest.pop(0)
        elif isinstance(command, click.Group):
            if word not in command.commands:
                return [*unknown, word]
            command = command.commands[word]
    return unknown


def options_of(command: click.Command) -> dict[str, click.Option]:
    help_option = click.Option(["--help"], is_flag=True)
    options = {name: one for one in command.params if isinstance(one, click.Option) for name in one.opts}
    return options | {"--help": help_option}


@documents
def test_the_commands_named_exist(path: Path) -> None:
    wrong = [words for words in commands_in(path.read_text()) if unknown_words(words)]
    assert wrong == []


def test_commands_are_found_and_wrong_ones_are_noticed() -> None:
    assert sum(len(list(commands_in(path.read_text()))) for path in DOCUMENTS) > 50
    text = (
        "    $ pkiserver --home /x certificate show 1 --ca y\n    $ cd x && .venv/bin/pkiserver ca show z | x"
    )
    assert [unknown_words(words) for words in commands_in(text)] == [[], []]
    for wrong, word in (
        ("certificate destroy 1", "destroy"),
        ("certificate show 1 --loud", "--loud"),
        ("publish", "publish"),
        ("--house /x doctor", "--house"),
    ):
        [words] = commands_in(f"    $ pkiserver {wrong}")
        assert word in unknown_words(words)


def commands_of(command: click.Command, path: str = "pkiserver") -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands_of(one, f"{path} {name}")
    else:
        yield path


def test_every_command_is_in_a_document() -> None:
    everything = "\n".join(path.read_text() for path in DOCUMENTS)
    assert [command for command in commands_of(main) if command not in everything] == []


# ---- Options, profiles, metrics, codes


def test_the_reference_of_the_configuration_is_the_program_s() -> None:
    [block] = re.findall(r"## Reference\n\n```toml\n(.*)```\n", text_of("docs/configuration.md"), re.DOTALL)
    assert block == reference()


NAMES = (
    "listen",
    "tls",
    "keys",
    "ocsp",
    "https",
    "est",
    "api",
    "approval",
    "registration",
    "civil_registry",
    "storage",
    "clock",
    "log",
    "key_policy",
)


@documents
def test_the_options_named_exist(path: Path) -> None:
    sections = {name: type(getattr(Settings(), name)).model_fields for name in NAMES}
    named = re.findall(rf"`({'|'.join(NAMES)})\.(?!py\b)([a-z_]+)", path.read_text())
    assert [f"{section}.{key}" for section, key in named if key not in sections[section]] == []


def test_the_table_of_profiles_has_every_shipped_one() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \| [^|]+ \|", text_of("docs/profiles.md"), re.MULTILINE
    )
    assert sorted(rows) == sorted(load_profiles(SHIPPED_PROFILES))


def test_the_example_profile_is_the_shipped_example() -> None:
    [block] = re.findall(r"```toml\n(description = .*?)```\n", text_of("docs/profiles.md"), re.DOTALL)
    example = (EXAMPLES / "profiles" / "sensor.toml").read_text()
    assert block == "".join(line for line in example.splitlines(True) if not line.startswith("#"))


def metric_names() -> set[str]:
    """Return the names that Prometheus sees, without those of the process and of creation times."""
    names = {one.value.name for one in Durations}
    names |= {one.value.name + ("_total" if one.value.counter else "") for one in Reading}
    for family in Metrics().registry.collect():
        names.add(family.name + ("_total" if family.type == "counter" else ""))
    return {name for name in names if not name.startswith("pkiserver_process_")}


def test_the_table_of_metrics_has_every_one() -> None:
    rows = re.findall(r"^\| `(pkiserver_\w+)` \|", text_of("docs/operators.md"), re.MULTILINE)
    assert sorted(rows) == sorted(metric_names())


def test_alerts_look_at_metrics_that_exist() -> None:
    expressions = re.findall(r"expr: (.*)", (EXAMPLES / "prometheus-alerts.yml").read_text())
    named = {name for expression in expressions for name in re.findall(r"pkiserver_\w+", expression)}
    assert named
    assert named <= metric_names()


def test_the_table_of_errors_has_every_kind() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", text_of("docs/integrators.md"), re.MULTILINE)
    assert sorted(rows) == sorted((str(wire.http.value), kind.value) for kind, wire in WIRE.items())


# ---- Links


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@documents
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        file, _, fragment = target.partition("#")
        found = (path.parent / file) if file else path
        headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE) if found.is_file() else []
        if not found.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(target)
    assert broken == []


@documents
def test_tables_are_rectangular(path: Path) -> None:
    """A stray bar in a cell moves every cell behind it."""
    for table in re.findall(r"(?:^\|.*\|\n)+", path.read_text(), re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_the_readme_is_one_page() -> None:
    assert len(text_of("README.md").splitlines()) <= 130
