"""The real trivy, grype and syft, on databases made here and an image of a real registry."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from bot.adapters.scanning import ConfinedScanner, scanner_of
from bot.adapters.scanning.sandbox import Sandbox
from bot.domain.errors import UnavailableError
from bot.domain.evidence import Looked, with_inventory
from bot.domain.oci import DOCKER_CONFIG, DOCKER_MANIFEST, Digest, DigestReference, ImageRepository
from bot.domain.packages import PackageClass
from bot.formats.reports import read_sbom, read_scan
from tests.world.clients import HandClock, client
from tests.world.images import digest_of, encoded, image_of, push_blob, push_manifest
from tests.world.scanners import (
    BUILT,
    CANARY,
    Advisory,
    layout_of,
    open_folder,
    packaged_image,
    placed,
    write_grype_database,
    write_trivy_database,
)
from tests.world.tools import attempt, free_port, run_registry, tool

IMAGE = packaged_image(
    {"openssl": "3.0.9-1", "bash": "5.2"}, {"lodash": "4.17.4"}, ("linux/amd64", "linux/arm64")
)
EXPECTED = {("CVE-2019-10744", "lodash"), ("CVE-2023-5363", "openssl")}
NEWER = Advisory("CVE-2026-1000", "bash", "5.3")
TOKEN = "s3cret"  # noqa: S105 - of a server that lives for a test


@dataclass
class Bench:
    """A scanner with its database, and a registry with an image."""

    scanner: ConfinedScanner
    renew: Callable[[], None]
    """Give it a newer database that knows one vulnerability more."""
    registry: str

    def saving(self, digest: str) -> Callable[[Path], None]:
        reference = ImageRepository(self.registry, "dev/api").at(Digest(digest))
        return lambda directory: client(self.registry).save_layout(reference, directory)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_registry("registry", tmp_path_factory.mktemp("registry")) as host:
        IMAGE.push(host, "dev/api", "v1")
        yield host


@pytest.fixture(params=["trivy", "grype", "trivy-server"])
def bench(request: pytest.FixtureRequest, registry: str) -> Iterator[Bench]:
    kind = str(request.param)
    program = "grype" if kind == "grype" else "trivy"
    write = write_grype_database if kind == "grype" else write_trivy_database
    with open_folder() as folder, contextlib.ExitStack() as stack:
        database = write(folder / "database", CANARY)
        executable = str(placed(tool(program), folder))

        def made(server: str | None = None) -> ConfinedScanner:
            scanner = scanner_of(
                executable,
                clock=HandClock(),
                database=None if server else database,
                server=server,
                token=TOKEN if server else None,
            )
            assert scanner
            return scanner

        def renewed() -> None:
            write(database, [*CANARY, NEWER], BUILT + timedelta(hours=6))

        if kind != "trivy-server":
            yield Bench(made(), renewed, registry)
            return
        if not Sandbox(Path(executable)).confinement().namespaces:
            pytest.skip("no network namespace can be made here, and a server needs one")
        port = free_port()
        server = [stack.enter_context(trivy_server(executable, database, port))]

        def restarted() -> None:
            before = server.pop()
            before.terminate()
            before.wait(timeout=20)
            renewed()
            server.append(stack.enter_context(trivy_server(executable, database, port)))

        yield Bench(made(f"http://127.0.0.1:{port}"), restarted, registry)


@contextlib.contextmanager
def trivy_server(executable: str, database: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *(executable, "server", f"--listen=127.0.0.1:{port}", f"--cache-dir={database}"),
        *("--skip-db-update", f"--token={TOKEN}"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.request("GET", f"http://127.0.0.1:{port}/healthz", timeout=5)
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        try:
            yield process
        finally:
            process.terminate()


def test_findings_are_found_bound_and_found_again_in_the_sbom(bench: Bench) -> None:
    digest = IMAGE.child("linux/amd64")

    seen = bench.scanner.examine(bench.saving(digest))
    again = bench.scanner.match(seen.sbom)

    scan = read_scan(seen.report, "report")
    assert {(key.vulnerability, key.package.name) for key in scan.findings} == EXPECTED
    config = json.loads(IMAGE.children["linux/amd64"])["config"]["digest"]
    assert scan.image_id == config
    assert {Looked.OS, Looked.LIBRARY} <= scan.looked
    found_again = {(key.vulnerability, key.package.name) for key in read_scan(again, "r").findings}
    assert found_again == EXPECTED


def test_the_sbom_has_every_package_and_names_its_image(bench: Bench) -> None:
    seen = bench.scanner.examine(bench.saving(IMAGE.child("linux/arm64")))

    inventory = read_sbom(seen.sbom, "SBOM")
    assert {"openssl", "bash", "lodash"} <= {name.name for name in inventory.versions}
    manifest = IMAGE.children["linux/arm64"]
    assert inventory.subjects <= {digest_of(manifest), json.loads(manifest)["config"]["digest"]}
    assert inventory.subjects
    assert "vulnerabilities" not in json.loads(seen.sbom)


def test_a_newer_database_finds_more_in_the_kept_sbom(bench: Bench) -> None:
    sbom = bench.scanner.examine(bench.saving(IMAGE.child("linux/amd64"))).sbom
    before = bench.scanner.facts()

    bench.renew()
    after = bench.scanner.facts()
    found = read_scan(bench.scanner.match(sbom), "report").findings

    assert (before.database, after.database) == (BUILT, BUILT + timedelta(hours=6))
    assert {(key.vulnerability, key.package.name) for key in found} == {
        *EXPECTED,
        ("CVE-2026-1000", "bash"),
    }


def test_facts_name_the_program_and_its_data(bench: Bench) -> None:
    facts = bench.scanner.facts()

    assert facts.name in {"Trivy", "grype"}
    assert facts.version in {"0.74.0", "0.116.0"}
    assert facts.database == BUILT


def test_an_image_with_dockers_media_types_is_read(bench: Bench) -> None:
    reference = as_docker_writes(bench.registry)

    seen = bench.scanner.examine(bench.saving(reference.digest))

    scan = read_scan(seen.report, "report")
    assert {(key.vulnerability, key.package.name) for key in scan.findings} == EXPECTED


def test_platforms_are_told_apart(bench: Bench) -> None:
    sboms = [
        bench.scanner.examine(bench.saving(IMAGE.child(platform))).sbom
        for platform in ("linux/amd64", "linux/arm64")
    ]

    first, second = (read_sbom(sbom, "SBOM").subjects for sbom in sboms)
    assert first.isdisjoint(second)


@pytest.mark.parametrize("bench", ["trivy", "grype"], indirect=True)
def test_an_image_that_hides_its_system_is_not_covered(bench: Bench) -> None:
    hidden = packaged_image(
        {"openssl": "3.0.9-1"},
        {"lodash": "4.17.4"},
        changed={"etc/os-release": None, "etc/debian_version": None},
    )

    seen = bench.scanner.examine(lambda folder: layout_of(hidden, "linux/amd64", folder))

    for report in (seen.report, bench.scanner.match(seen.sbom)):
        scan = read_scan(report, "report")
        assert Looked.OS not in scan.looked
        assert scan.operating_system == ""
        assert Looked.LIBRARY in scan.looked


@pytest.mark.parametrize("bench", ["trivy", "grype"], indirect=True)
@pytest.mark.parametrize("is_blind", [True, False])
def test_only_what_is_shown_is_covered(bench: Bench, *, is_blind: bool) -> None:
    """The package database deleted, nothing vulnerable: a clean image, and one that hides."""
    image = packaged_image(
        {"bash": "5.2"},
        {"lodash": "4.17.21"},
        changed={"var/lib/dpkg/status": None} if is_blind else {},
    )

    seen = bench.scanner.examine(lambda folder: layout_of(image, "linux/amd64", folder))

    for report in (seen.report, bench.scanner.match(seen.sbom)):
        scan = read_scan(report, "report")
        assert not scan.findings
        assert scan.operating_system.startswith("debian")
        scan = with_inventory(scan, read_sbom(seen.sbom, "SBOM"))
        assert (Looked.OS in scan.looked) is not is_blind
        assert Looked.LIBRARY in scan.looked


def test_one_image_is_the_same_whoever_lists_it(tmp_path: Path) -> None:
    """Trivy's three formats and syft's two: no package differs (epochs, cases, architectures)."""
    image = packaged_image(
        {"openssl": "3.0.9-1", "zlib1g": "1:1.2.13.dfsg-1"}, {"lodash": "4.17.4"}
    )
    layout_of(image, "linux/amd64", tmp_path / "image")
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    with open_folder() as folder:
        database = write_trivy_database(folder / "database", CANARY)
        trivy = [
            attempt(
                *("trivy", "image", f"--input={tmp_path / 'image'}", f"--format={form}"),
                *("--skip-db-update", "--skip-java-db-update", "--offline-scan", "--quiet"),
                *("--list-all-pkgs", f"--cache-dir={database}", "--scanners=vuln"),
            ).stdout
            for form in ("json", "cyclonedx", "spdx-json")
        ]
    syft = [
        attempt("syft", f"oci-dir:{tmp_path / 'image'}", "-o", form, "-q", environment=quiet).stdout
        for form in ("cyclonedx-json", "spdx-json")
    ]

    listed = [read_sbom(document.encode(), "SBOM") for document in (*trivy, *syft)]

    wanted = {"openssl", "zlib1g", "lodash"}
    versions = [
        {name: found for name, found in one.versions.items() if name.name in wanted}
        for one in listed
    ]
    assert {name.name for name in versions[0]} == wanted
    assert ("1:1.2.13.dfsg-1",) in versions[0].values()
    assert all(one == versions[0] for one in versions[1:])


def test_a_report_that_flags_limited_covers_what_it_shows(tmp_path: Path) -> None:
    """``--pkg-types library`` leaves an image's vulnerable openssl out, and says so nowhere."""
    image = packaged_image({"openssl": "3.0.9-1"}, {"lodash": "4.17.4"})
    layout_of(image, "linux/amd64", tmp_path / "image")
    with open_folder() as folder:
        database = write_trivy_database(folder / "database", CANARY)
        whole, limited = (
            attempt(
                *("trivy", "image", f"--input={tmp_path / 'image'}", "--format=json"),
                *("--skip-db-update", "--skip-java-db-update", "--offline-scan", "--quiet"),
                *("--list-all-pkgs", f"--cache-dir={database}", "--scanners=vuln", *flags),
            ).stdout
            for flags in ((), ("--pkg-types=library",))
        )

    covered, blind = (read_scan(one.encode(), "report") for one in (whole, limited))

    assert covered.covers(PackageClass.OS)
    assert not blind.covers(PackageClass.OS)
    assert "--pkg-types" in blind.unlooked[Looked.OS]
    assert blind.covers(PackageClass.LIBRARY)


def test_a_real_advisory_of_two_vulnerabilities_is_two_findings(tmp_path: Path) -> None:
    """One of them is accepted, the other one is exploited: grype names both in one match."""
    image = packaged_image({"vim": "2:9.0.1378-2"}, {})
    layout_of(image, "linux/amd64", tmp_path / "image")
    advisory = Advisory(
        "DSA-5000-1", "vim", "2:9.9", severity=4, cves=("CVE-2024-0001", "CVE-2024-0002")
    )
    write_grype_database(tmp_path / "database", [*CANARY, advisory])
    report = attempt(
        *("grype", f"oci-dir:{tmp_path / 'image'}", "-o", "json", "-q"),
        environment={
            "GRYPE_DB_CACHE_DIR": str(tmp_path / "database"),
            "GRYPE_DB_AUTO_UPDATE": "false",
            "GRYPE_DB_VALIDATE_AGE": "false",
            "GRYPE_CHECK_FOR_APP_UPDATE": "false",
        },
    ).stdout

    found = read_scan(report.encode(), "report").findings

    assert {key.vulnerability for key in found} == {"CVE-2024-0001", "CVE-2024-0002"}
    assert {one.advisories for one in found.values()} == {frozenset({"DSA-5000-1"})}
    assert all(len(one.aliases) == 1 for one in found.values()), "an advisory is no other name"


@pytest.mark.parametrize("bench", ["trivy", "grype"], indirect=True)
def test_an_sbom_inside_the_image_takes_no_finding_away(bench: Bench) -> None:
    """Trivy reads SBOM files in images and adds their packages; the real ones stay."""
    claimed = [
        ("openssl", "3.0.13-1", "pkg:deb/debian/openssl@3.0.13-1?distro=debian-12.2"),
        ("lodash", "4.17.21", "pkg:npm/lodash@4.17.21"),
    ]
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "clean", "bom-ref": "root"}},
        "components": [
            {"type": "operating-system", "bom-ref": "os", "name": "debian", "version": "12.2"},
            *(
                {"type": "library", "bom-ref": purl, "name": name, "version": v, "purl": purl}
                for name, v, purl in claimed
            ),
        ],
    }
    image = packaged_image(
        {"openssl": "3.0.9-1"},
        {"lodash": "4.17.4"},
        changed={"app/clean.cdx.json": json.dumps(sbom)},
    )

    seen = bench.scanner.examine(lambda folder: layout_of(image, "linux/amd64", folder))

    for report in (seen.report, bench.scanner.match(seen.sbom)):
        found = read_scan(report, "report").findings
        assert {(key.vulnerability, key.package.name) for key in found} == EXPECTED


def test_java_archives_need_their_index() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    image = image_of({"app/some.jar": archive.getvalue()}, ["linux/amd64"])
    with open_folder() as folder:
        database = write_trivy_database(folder / "database", CANARY)
        program = str(placed(tool("trivy"), folder))
        scanner = scanner_of(program, clock=HandClock(), database=database)
        assert scanner

        with pytest.raises(UnavailableError, match="--download-java-db-only"):
            scanner.examine(lambda directory: layout_of(image, "linux/amd64", directory))


def test_syft_writes_sboms_that_are_read(registry: str, tmp_path: Path) -> None:
    reference = ImageRepository(registry, "dev/api").at(Digest(IMAGE.child("linux/amd64")))
    client(registry).save_layout(reference, tmp_path)

    for form in ("cyclonedx-json", "spdx-json", "spdx-json@2.2"):
        done = attempt(
            *("syft", f"oci-dir:{tmp_path}", "-o", form, "-q"),
            environment={"SYFT_CHECK_FOR_APP_UPDATE": "false"},
        )
        inventory = read_sbom(done.stdout.encode(), form)
        assert {"openssl", "bash", "lodash"} <= {name.name for name in inventory.versions}
        assert reference.digest in inventory.subjects


def as_docker_writes(host: str) -> DigestReference:
    document = json.loads(IMAGE.children["linux/amd64"])
    document["mediaType"] = DOCKER_MANIFEST
    document["config"]["mediaType"] = DOCKER_CONFIG
    for layer in document["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    content = encoded(document)
    base = f"http://{host}/v2/dev/api"
    with requests.Session() as session:
        for digest, blob in IMAGE.blobs.items():
            push_blob(session, base, digest, blob)
        push_manifest(session, base, digest_of(content), content, DOCKER_MANIFEST)
    return ImageRepository(host, "dev/api").at(Digest(digest_of(content)))
