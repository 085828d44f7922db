"""A scanner that answers, lies, hangs or floods: what counts of its word, and what is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.adapters.scanning import ConfinedScanner, scanner_of
from bot.adapters.scanning.scanner import Canary
from bot.domain.errors import ConfigurationError, UnavailableError
from bot.domain.evidence import UnreadableEvidenceError
from bot.formats.reports import read_sbom, read_scan
from tests.world.clients import HandClock
from tests.world.images import BuiltImage
from tests.world.scanners import (
    BUILT,
    CANARY,
    Advisory,
    layout_of,
    misbehave,
    open_folder,
    packaged_image,
    write_fake_advisories,
    write_fake_trivy,
    write_trivy_database,
)

IMAGE = packaged_image({"openssl": "3.0.9-1", "bash": "5.2"}, {"lodash": "4.17.4"})
NEWER = Advisory("CVE-2026-1000", "bash", "5.3")


@dataclass
class LocalBot:
    """A fake scanner in a real sandbox."""

    folder: Path
    program: Path
    database: Path
    clock: HandClock = field(default_factory=HandClock)

    def scanner(self, *, seconds: int = 20, database_days: int = 7) -> ConfinedScanner:
        made = scanner_of(
            str(self.program),
            clock=self.clock,
            database=self.database,
            seconds=seconds,
            database_days=database_days,
        )
        assert made
        return made

    def renew(self, *advisories: Advisory, days: int = 1) -> None:
        """A newer database."""
        write_trivy_database(self.database, [], BUILT + timedelta(days=days))
        write_fake_advisories(self.database, [*CANARY, *advisories])


@pytest.fixture
def local() -> Iterator[LocalBot]:
    with open_folder() as folder:
        yield LocalBot(folder, *write_fake_trivy(folder))


def saving(image: BuiltImage) -> Callable[[Path], None]:
    return lambda directory: layout_of(image, "linux/amd64", directory)


def test_both_documents_are_of_the_image(local: LocalBot) -> None:
    seen = local.scanner().examine(saving(IMAGE))

    scan, inventory = read_scan(seen.report, "report"), read_sbom(seen.sbom, "SBOM")
    assert {key.vulnerability for key in scan.findings} == {"CVE-2019-10744", "CVE-2023-5363"}
    assert inventory.subjects == {scan.image_id}


def test_a_newer_database_finds_more_in_the_same_sbom(local: LocalBot) -> None:
    scanner = local.scanner()
    sbom = scanner.examine(saving(IMAGE)).sbom
    before = scanner.facts()

    local.renew(NEWER)

    assert scanner.facts().generation != before.generation
    found = read_scan(scanner.match(sbom), "report").findings
    assert "CVE-2026-1000" in {key.vulnerability for key in found}


def test_facts_are_asked_once_per_database(local: LocalBot) -> None:
    scanner = local.scanner()
    first = scanner.facts()
    # A canary that is asked again would fail from now on.
    misbehave(local.database, "silent")

    assert scanner.facts() == first

    local.renew()
    with pytest.raises(UnavailableError):
        scanner.facts()


def test_a_scanner_that_misses_the_canary_has_no_word(local: LocalBot) -> None:
    misbehave(local.database, "silent")

    with pytest.raises(UnavailableError) as caught:
        local.scanner().examine(saving(IMAGE))

    assert "misses 5 of 5 findings that canary.cdx.json has (CVE-2019-10744 in lodash" in str(
        caught.value
    )
    assert "LOCKKEEPER_SCANNER_CANARY" in str(caught.value)


def test_a_database_without_one_ecosystem_misses_the_canary(local: LocalBot) -> None:
    write_fake_advisories(local.database, CANARY[:-1])

    with pytest.raises(UnavailableError, match=r"misses 1 of 5 .*CVE-2021-44228 in log4j-core"):
        local.scanner().facts()


def test_the_operator_names_another_canary(local: LocalBot) -> None:
    write_fake_advisories(local.database, [NEWER])
    canary = local.folder / "canary.json"
    canary.write_text(
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "metadata": {"component": {"type": "container", "name": "canary"}},
                "components": [
                    {
                        "type": "library",
                        "bom-ref": "bash",
                        "name": "bash",
                        "version": "5.2",
                        "purl": "pkg:deb/debian/bash@5.2",
                    }
                ],
                "vulnerabilities": [{"id": "CVE-2026-1000", "affects": [{"ref": "bash"}]}],
            }
        )
    )
    scanner = scanner_of(
        str(local.program), clock=local.clock, database=local.database, canary=canary
    )

    assert scanner
    assert scanner.facts().version == "0.0.1"


def test_the_scanner_is_not_shown_what_it_must_find() -> None:
    canary = Canary.read(Path("bot/adapters/scanning/canary.cdx.json"))

    assert b"CVE-" not in canary.sbom
    assert len(canary.expected) == 5


@pytest.mark.parametrize("answer", ["null", "[]", "{}", "no JSON", '{"SchemaVersion": 2}'])
def test_nonsense_about_the_canary_is_no_word(local: LocalBot, answer: str) -> None:
    """`facts` answers or is unavailable: nothing else stops a promotion from being shown."""
    misbehave(local.database, f"python:print({answer!r})")

    with pytest.raises(UnavailableError, match=r"its word does\s+not count|trivy"):
        local.scanner().facts()


def test_an_old_database_is_not_believed(local: LocalBot) -> None:
    scanner = local.scanner(database_days=3)
    scanner.facts()

    local.clock.move(3 * 86_400)

    with pytest.raises(UnavailableError, match="is of 2026-11-20 06:00 UTC, older than 3 days"):
        scanner.match(b"{}")


def test_a_database_that_shrinks_is_not_taken_over(local: LocalBot) -> None:
    file = local.database / "db" / "trivy.db"
    full = file.read_bytes()
    scanner = local.scanner()
    before = scanner.facts()

    local.renew()
    file.write_bytes(full[: len(full) * 4 // 5])
    with pytest.raises(UnavailableError, match=r"has shrunk from .* and is not taken over"):
        scanner.facts()

    file.write_bytes(full)
    assert scanner.facts().database > before.database


@pytest.mark.parametrize(
    ("behaviour", "error", "fact"),
    [
        ("hang", UnavailableError, "trivy has not ended within 3 s and was ended"),
        ("flood", UnavailableError, "trivy wrote more than 67108864 bytes of output"),
        ("crash", UnavailableError, "Trivy failed with status 1[0-9]+: it says nothing"),
        ("partial", UnavailableError, "Trivy failed with status 1: .*the disk is on fire"),
        ("fork-bomb", UnavailableError, "Trivy failed with status 1: .*not permitted"),
        ("null", UnreadableEvidenceError, "Trivy's report: .*null"),
        ("liar", UnreadableEvidenceError, "Trivy's report: is about sha256:0000"),
    ],
)
def test_misbehaviour_is_named_and_leaves_nothing(
    local: LocalBot, behaviour: str, error: type[Exception], fact: str
) -> None:
    scanner = local.scanner(seconds=3)
    sbom = scanner.examine(saving(IMAGE)).sbom
    misbehave(local.database, behaviour)

    with pytest.raises(error, match=fact):
        scanner.examine(saving(IMAGE))
    with pytest.raises(error, match=fact):
        scanner.match(sbom)

    misbehave(local.database, "honest")
    assert scanner.match(sbom)


def test_an_sbom_of_another_image_is_refused(local: LocalBot) -> None:
    other = packaged_image({"openssl": "3.0.9-1"}, {})
    scanner = local.scanner()
    sbom = scanner.examine(saving(other)).sbom
    misbehave(local.database, f"python:print({scanner.examine(saving(IMAGE)).report.decode()!r})")

    with pytest.raises(UnreadableEvidenceError, match="is about sha256:"):
        scanner.match(sbom)


def test_what_goes_wrong_with_the_image_stays_what_it_is(local: LocalBot) -> None:
    def broken(_directory: Path) -> None:
        raise UnavailableError("the registry is away")

    with pytest.raises(UnavailableError, match="the registry is away"):
        local.scanner().examine(broken)


def test_a_missing_database_is_named(local: LocalBot) -> None:
    (local.database / "db" / "metadata.json").unlink()

    with pytest.raises(UnavailableError, match=r"cannot be read: .*--download-db-only"):
        local.scanner().facts()


# --- settings --------------------------------------------------------------------------------


def test_without_a_program_there_is_no_scanner() -> None:
    assert scanner_of(None, clock=HandClock()) is None


@pytest.mark.parametrize(
    ("made", "fact"),
    [
        (partial(scanner_of, None, database=Path("db")), "LOCKKEEPER_SCANNER: is not set"),
        (partial(scanner_of, "/opt/trivy"), "needs a database or a server"),
        (
            partial(scanner_of, "/opt/trivy", database=Path("db"), server="http://t"),
            "a server, not both",
        ),
        (
            partial(scanner_of, "/opt/clair", database=Path("db")),
            "clair is no known scanner; write trivy:PATH",
        ),
        (partial(scanner_of, "/opt/grype", server="http://t"), "grype knows no server"),
        (partial(scanner_of, "grype:/opt/x", server="http://t"), "grype knows no server"),
        (
            partial(scanner_of, "/opt/trivy", database=Path("db"), canary=Path("/nowhere")),
            "cannot be read",
        ),
    ],
)
def test_settings_that_cannot_work_are_named(made: Callable[..., object], fact: str) -> None:
    with pytest.raises(ConfigurationError, match=fact):
        made(clock=HandClock())


@pytest.mark.parametrize("text", ["", "null", "[]", '{"bomFormat": "CycloneDX"}'])
def test_a_canary_that_proves_nothing_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "canary.json"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=r"canary\.json"):
        Canary.read(file)
