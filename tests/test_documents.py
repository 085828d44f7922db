from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import click
import pytest

from bot.cli.main import lockkeeper
from bot.domain.doctor.findings import About, Severity
from bot.domain.standing import State
from bot.formats import docker_config
from bot.formats.pipeline_file import schema
from bot.formats.webhook import HANDLED
from bot.settings import VARIABLES, Variable
from tests.walked.pages import PAGES, blocks, files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MODULES = sorted((ROOT / "bot").rglob("*.py"))
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "days": 86_400, "minutes": 60}


def page(name: str) -> str:
    return (DOCS / name).read_text()


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def titles(paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


# --- settings ---


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_setting_stands_in_the_table_with_its_meaning(variable: Variable) -> None:
    file = "`_FILE`" if variable.secret else ""

    assert f"| `{variable.name}` | {file} | {variable.meaning} | " in page("operating.md")


@pytest.mark.parametrize(
    "variable", [one for one in VARIABLES if one.default], ids=lambda variable: variable.name
)
def test_every_default_stands_in_the_table(variable: Variable) -> None:
    assert f"{variable.meaning} | {variable.default} |" in page("operating.md")


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {one.name for one in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.secret}

    pattern = r"(?<!_)LOCKKEEPER_[A-Z_]+"  # click's own for completion begin with _
    named = {name for one in PAGES for name in re.findall(pattern, one.read_text())}

    assert named <= known


def grant_keys() -> list[str]:
    names = ("_TOP_KEYS", "_AUTH_KEYS", "_HOST_KEYS")
    return [key for name in names for key in vars(docker_config)[name]]


@pytest.mark.parametrize("key", grant_keys())
def test_every_key_of_a_registry_grant_is_documented(key: str) -> None:
    section = page("operating.md").split("## Grants")[1].split("\n## ")[0]

    assert f'"{key}":' in section or f"`{key}`" in section


# --- commands ---


def commands(
    group: click.Command, words: tuple[str, ...] = ("lockkeeper",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None
            yield from commands(found, (*words, name))
    else:
        yield words, group


COMMANDS = dict(commands(lockkeeper))


def usage(words: tuple[str, ...]) -> str:
    """The command's line in the table of docs/operating.md."""
    lines = [line for line in page("operating.md").splitlines() if line.startswith("| `lockkeeper")]
    calls = [line.split(" | ")[0].strip("|` ").replace(r"\|", "|") for line in lines]
    found = [call for call in calls if call.split()[: len(words)] == list(words)]
    assert found, f"docs/operating.md has no line for {' '.join(words)}"
    return found[0]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_documented_with_its_options(words: tuple[str, ...]) -> None:
    said = set(re.findall(r"(?<![\w-])--[a-z-]+", usage(words)))

    options = [one for one in COMMANDS[words].params if isinstance(one, click.Option)]
    existing = {name for one in options for name in one.opts if name.startswith("--")}

    assert said == existing


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_argument_is_documented(words: tuple[str, ...]) -> None:
    arguments = [one for one in COMMANDS[words].params if isinstance(one, click.Argument)]
    names = [(one.metavar or one.name or "").upper() for one in arguments]

    assert [name for name in names if name not in re.findall(r"[A-Z]+", usage(words))] == []


def examples() -> list[tuple[str, str]]:
    """Commands as pages show them: in blocks of code and between backticks."""
    found: list[tuple[str, str]] = []
    for one in PAGES:
        text = one.read_text().replace("\\\n", " ")
        for block in blocks(one):
            lines = [line.strip() for line in block.text.replace("\\\n", " ").splitlines()]
            found += [(one.name, line) for line in lines if line.startswith("lockkeeper ")]
        prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
        found += [(one.name, call) for call in re.findall(r"`(lockkeeper [^`\n]+)`", prose)]
    return list(dict.fromkeys((name, call.split(" #")[0].strip()) for name, call in found))


def is_a_call(call: str) -> bool:
    # `lockkeeper: payments -> dev` is a check, `lockkeeper --version` is the group's own.
    return call.split()[1].isalpha()


@pytest.mark.parametrize(
    ("where", "call"), [one for one in examples() if is_a_call(one[1])], ids=lambda text: text
)
def test_commands_that_pages_show_exist(where: str, call: str) -> None:
    parts = shlex.split(re.sub(r"[\[\]\\]|\.\.\.", " ", call).replace("|", " "), posix=True)
    words = next(
        (tuple(parts[:length]) for length in (3, 2) if tuple(parts[:length]) in COMMANDS), None
    )
    group = tuple(parts[:2])

    if words is None:
        assert any(known[:2] == group and len(parts) == 2 for known in COMMANDS), (where, call)
        return
    known = {name for one in COMMANDS[words].params for name in (*one.opts, *one.secondary_opts)}
    options = [part for part in parts if re.fullmatch(r"--?[a-z][a-z-]*", part)]
    assert set(options) <= known, (where, call)


def test_examples_are_found() -> None:
    assert len([one for one in examples() if is_a_call(one[1])]) > 20


# --- events ---


@pytest.mark.parametrize("event", sorted(HANDLED))
def test_every_event_is_documented(event: str) -> None:
    section = page("operating.md").split("## Webhook events")[1].split("\n## ")[0]

    assert f"`{event}`" in section


def test_the_events_that_the_app_asks_for_are_marked() -> None:
    section = page("operating.md").split("## Webhook events")[1].split("\n## ")[0]
    marked = re.findall(r"^\| `(\w+)` \| yes \|", section, re.MULTILINE)
    asked = re.findall(
        r"^  - (\w+)", (ROOT / "app.yml").read_text().split("default_events:")[1], re.MULTILINE
    )

    assert sorted(marked) == sorted(asked)


# --- errors, audit, log ---


def error_classes() -> list[str]:
    return sorted(
        {
            node.name
            for module in MODULES
            for node in ast.walk(tree(module))
            if isinstance(node, ast.ClassDef)
            and node.name.endswith("Error")
            and not node.name.startswith("_")
        }
    )


@pytest.mark.parametrize("name", error_classes())
def test_every_error_is_documented(name: str) -> None:
    section = page("operating.md").split("## Errors")[1]

    assert f"`{name}`" in section


def test_no_error_is_documented_that_does_not_exist() -> None:
    section = page("operating.md").split("## Errors")[1]

    assert set(re.findall(r"`(\w+Error)`", section)) <= set(error_classes())


def calls(method: re.Pattern[str]) -> Iterator[tuple[str, ast.Call]]:
    """Calls whose dotted name matches, with that name."""
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Call) and method.search(name := ast.unparse(node.func)):
                yield name, node


def texts(node: ast.expr) -> list[str]:
    return [
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def audit_kinds() -> set[str]:
    found = [call.args[0] for _, call in calls(re.compile(r"\baudit\.append$"))]
    return {text for first in found for text in texts(first)}


def test_every_audit_kind_is_documented_and_no_other() -> None:
    section = page("operating.md").split("**Audit**")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `([a-z ]+)` \|", section, re.MULTILINE)) == audit_kinds()


def log_messages() -> set[str]:
    plain = [call.args[0] for _, call in calls(re.compile(r"^_LOG\.(?!log\b)\w+$"))]
    leveled = [call.args[1] for _, call in calls(re.compile(r"^_LOG\.log$"))]
    return {text for message in (*plain, *leveled) for text in texts(message)}


def test_every_log_message_is_documented_and_no_other() -> None:
    section = page("operating.md").split("## Log")[1].split("\n## ")[0]
    said = re.findall(r"^\| `lockkeeper\.\w+` \| `([^`]+)` \|", section, re.MULTILINE)

    assert set(said) == log_messages()


# --- findings ---


def test_every_state_is_documented_and_no_other() -> None:
    section = page("operating.md").split("`status` names the state of each place")[1]
    rows = re.findall(r"^\| `([a-z ]+)` \|", section.split("\n## ")[0], re.MULTILINE)

    assert sorted(rows) == sorted(str(one) for one in State)


def test_every_finding_is_documented_and_no_other() -> None:
    section = page("doctor.md").split("## Findings")[1]
    rows = re.findall(r"^\| `([a-z.-]+)` \|", section, re.MULTILINE)

    assert sorted(rows) == sorted(str(one) for one in About)


def test_every_severity_is_documented_from_the_worst_to_the_best() -> None:
    section = page("doctor.md").split("| severity |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `([a-z ]+)` \|", section, re.MULTILINE) == [str(s) for s in Severity]


# --- the pipeline file ---


def pipeline_keys() -> list[str]:
    return sorted({key for one in schema()["$defs"].values() for key in one["properties"]})


@pytest.mark.parametrize("key", pipeline_keys())
def test_every_pipeline_key_is_documented(key: str) -> None:
    section = page("pipeline-file.md").split("## Keys")[1].split("\n## ")[0]

    assert re.search(rf"`{key}`|`\{{[^`]*, {key}\}}`|`\{{{key}, [^`]*\}}`", section)


def test_the_pipeline_file_of_the_guide_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "lockkeeper.yaml"
    file.write_text(files(DOCS / "getting-started.md")["lockkeeper.yaml"])

    result = lockkeeper.main(["config", "check", str(file)], standalone_mode=False)

    assert result is None


# --- limits ---


def limit_rows() -> list[tuple[str, str, str]]:
    """(path, constant, limit) of every row of docs/limits.md."""
    rows = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| `(bot/[^`]+)` `(\w+)` \|", page("limits.md"), re.MULTILINE
    )
    return [(path, name, limit) for limit, path, name in rows]


@pytest.mark.parametrize(("path", "name", "limit"), limit_rows(), ids=lambda text: text)
def test_every_limit_is_the_code_s(path: str, name: str, limit: str) -> None:
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    number, _, unit = limit.partition(" ")

    value = getattr(module, name)

    in_seconds = value.total_seconds() if isinstance(value, timedelta) else value
    assert in_seconds == int(number.replace(",", "")) * UNITS.get(unit, 1)


def test_every_constant_that_calls_itself_a_limit_is_documented() -> None:
    documented = {(path, name) for path, name, _ in limit_rows()}
    named = {
        (module.relative_to(ROOT).as_posix(), target.id)
        for module in MODULES
        for node in tree(module).body
        for target in (node.targets if isinstance(node, ast.Assign) else [])
        + ([node.target] if isinstance(node, ast.AnnAssign) else [])
        if isinstance(target, ast.Name) and re.search(r"(^|_)LIMIT(_BYTES)?$", target.id)
    }

    assert named - documented == set()


# --- the house ---


def drawn_modules() -> set[str]:
    """The paths that the tree in docs/architecture.md draws."""
    folders: list[str] = []
    found: set[str] = set()
    for line in blocks(DOCS / "architecture.md")[0].text.splitlines():
        if line.strip():
            depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
            folders = [*folders[:depth], name.rstrip("/")]
            found |= set() if name.endswith("/") else {"/".join(folders)}
    return found


def test_the_tree_draws_every_module_and_no_other() -> None:
    assert drawn_modules() == {m for m in titles(MODULES) if not m.endswith("__init__.py")}


# --- the conventions ---


def modules_with(pattern: str) -> set[str]:
    return {
        module.relative_to(ROOT / "bot").as_posix()
        for module in MODULES
        if re.search(pattern, module.read_text())
    }


def test_bugs_are_caught_where_the_conventions_say_and_nowhere_else() -> None:
    sentence = page("CONVENTIONS.md").split("`except Exception` stands only")[1].split("\n\n")[0]

    assert set(re.findall(r"`([\w/]+\.py)`", sentence)) == modules_with(r"except Exception\b")


def test_who_logs_and_who_reads_the_environment_is_as_the_conventions_say() -> None:
    sentence = re.search(r"Only (.+?) log; fields", page("CONVENTIONS.md"))
    assert sentence is not None
    loggers = modules_with(r"getLogger\(\"lockkeeper|_LOG\b")

    assert {path.split("/")[0].removesuffix(".py") for path in loggers} == set(
        re.findall(r"`(\w+)`", sentence[1])
    )
    assert modules_with(r"\bos\.environ\b|\bgetenv\b") == {"settings.py"}


# --- links, Argo CD, the first page ---


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def links() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in PAGES:
        prose = re.sub(r"^ *```.*?^ *```", "", one.read_text(), flags=re.DOTALL | re.MULTILINE)
        targets = re.findall(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)", prose)
        found += [(one.relative_to(ROOT).as_posix(), target) for target in targets]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(
    ("where", "target"), [one for one in links() if "://" not in one[1]], ids=lambda text: text
)
def test_every_relative_link_leads_somewhere(where: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / where).parent / path if path else ROOT / where

    assert file.exists()
    assert not anchor or anchor in anchors(file)


@pytest.mark.parametrize("path", titles(PAGES))
def test_argo_cd_is_told_the_whole_ref(path: str) -> None:
    """A short name also matches a tag, which anybody who may push could make."""
    named = re.findall(r"targetRevision:\s*([^\s`]+)", (ROOT / path).read_text())

    assert [ref for ref in named if not ref.startswith("refs/heads/env/")] == []


def test_argo_cd_s_ref_is_shown_where_people_look() -> None:
    for path in (ROOT / "README.md", DOCS / "getting-started.md", DOCS / "operating.md"):
        assert "targetRevision: refs/heads/env/prod" in path.read_text()


def test_the_first_page_shows_the_two_commands() -> None:
    shown = re.findall(r"^(make \w+)", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert shown == ["make demo", "make test"]


@pytest.mark.parametrize("path", titles(PAGES))
def test_every_make_target_that_is_named_exists(path: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"`make ([a-z]+)|^make ([a-z]+)", (ROOT / path).read_text(), re.MULTILINE)

    assert {one or other for one, other in named} <= set(targets)


def test_every_page_can_be_reached_from_the_first() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        here = waiting.pop()
        reached.add(here)
        name = here.relative_to(ROOT).as_posix()
        targets = [t.partition("#")[0] for where, t in links() if where == name and "://" not in t]
        files = {(here.parent / target).resolve() for target in targets if target.endswith(".md")}
        waiting += files - reached
    decisions = set((DOCS / "adr").glob("*.md"))

    assert set(PAGES) - reached - decisions == set()


def test_every_threat_has_a_row_with_a_test_that_is_there_or_its_consequence() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (F\d+) \| (.+?) \| (.+?) \| (.*?) \| ?(.*?) ?\|$", text, re.MULTILINE)

    assert [name for name, *_ in rows] == [f"F{number}" for number in range(1, 41)]
    for name, _, verdict, by, remains in rows:
        tests = re.findall(r"`(tests/[^`]+)`", by)
        assert verdict in {"held", "partly", "not held"}, name
        assert tests or (verdict == "not held" and remains), name
        assert verdict == "held" or remains.endswith("."), name
        assert all((ROOT / test).is_file() for test in tests), name


# --- scenarios ---

ROW = re.compile(r"^\| S(\d+) \| (.+?) \| (.+?) \| ?(.*?) ?\| ?(.*?) ?\|$", re.MULTILINE)
LINKED_TEST = re.compile(r"\[`(tests/[^`:]+\.py)::(\w+)`\]\(\.\./(tests/[^)]+)\)")


def has_test(path: str, name: str) -> bool:
    """Whether the file is there and defines it where pytest looks, so not within another."""
    file = ROOT / path
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return file.is_file() and any(
        isinstance(node, functions) and node.name == name for node in tree(file).body
    )


def test_the_58_scenarios_have_one_row_each() -> None:
    text = page("scenarios.md")
    numbers = re.findall(r"^\| S(\d+) ", text, re.MULTILINE)

    assert [int(number) for number in numbers] == [*range(1, 59)]
    assert [row[0] for row in ROW.findall(text)] == numbers, "a row has not its five columns"


def test_each_of_the_scenarios_has_tests_that_exist_or_says_what_is_missing() -> None:
    for number, _, _, tests, missing in ROW.findall(page("scenarios.md")):
        linked = LINKED_TEST.findall(tests)

        assert linked or missing, number
        assert not missing or re.fullmatch(r"[A-Z].*\.", missing), number
        assert len(linked) == tests.count("::"), f"S{number} names a test without its link"
        for path, name, target in linked:
            assert target == path, number
            assert name.startswith("test_"), number
            assert has_test(path, name), f"S{number}: there is no {path}::{name}"
