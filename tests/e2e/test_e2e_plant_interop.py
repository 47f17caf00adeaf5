"""Regulation 2.8 on a running server: a batch with `openssl cmp` and EST, and what the operator sees."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_messages import new_key
from consistency import assert_consistent
from cryptography import x509
from foreign_clients import tool, worked
from openssl_cmp import program
from plant_client import Station, live, read, verified
from server_harness import Server, copied, eventually, run_program, running

from protocols.x509.names import subject_text

pytestmark = pytest.mark.interop


@pytest.fixture
def server(pristine: Path, tmp_path: Path) -> Iterator[Server]:
    with running(copied(pristine, tmp_path / "home")) as started:
        yield started


def enrolled(
    server: Server, station: Station, folder: Path, card: str, key: Path
) -> subprocess.CompletedProcess[bytes]:
    """Ask for the certificate of a card as an RA does whose cards make their own keys."""
    return tool(
        *(program("system"), "cmp", "-config", "", "-cmd", "ir"),
        *("-server", f"127.0.0.1:{server.port('http')}"),
        *("-path", f"/.well-known/cmp/p/{card}", "-trusted", server.root_pem, "-subject", "/CN=whoever"),
        *("-cert", station.certificate_file, "-key", station.key_file, "-newkey", key),
        *("-certout", folder / f"{card}.pem"),
    )


def test_regulation_2_8_with_openssl_cmp(server: Server, tmp_path: Path) -> None:
    openssl = program("system")
    applications = verified(server)
    station = Station.registered(server, tmp_path)
    batch = read(station.pull(server, "pull-0001"))["batch"]
    first, second, third = station.cards(server, batch)
    keys = [tmp_path / f"{number}.key" for number in range(2)]
    for key in keys:
        kind = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        worked(tool(openssl, "genpkey", *kind, "-out", key))

    # Made at once; asked for again with the same key it is the same, with another there is none.
    worked(enrolled(server, station, tmp_path, first["card"], keys[0]))
    made = (tmp_path / f"{first['card']}.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(made)
    assert subject_text(certificate.subject) == first["subject"]
    worked(enrolled(server, station, tmp_path, first["card"], keys[0]))
    assert (tmp_path / f"{first['card']}.pem").read_bytes() == made
    assert enrolled(server, station, tmp_path, first["card"], keys[1]).returncode != 0
    read(station.report(server, batch, first["card"], result="issued", carrier="04A1"))

    # The second card is torn, the third is enrolled over EST.
    worked(enrolled(server, station, tmp_path, second["card"], keys[1]))
    spoilt = x509.load_pem_x509_certificate((tmp_path / f"{second['card']}.pem").read_bytes())
    read(station.report(server, batch, second["card"], result="failed", failure="damaged", reason="torn"))
    server.shows(spoilt, "revoked", "citizen")
    station.enroll(server, third["card"], new_key()).certificate()
    read(station.report(server, batch, third["card"], result="issued", carrier="04A3"))
    assert read(station.ask(server, "GET", f"/batches/{batch}"))["state"] == "closed"

    # What failed comes back, as another card.
    eventually(lambda: server.metric("pkiserver_plant_queue") == 1, "the metrics to show who waits")
    batch = read(station.pull(server, "pull-0002"))["batch"]
    [again] = station.cards(server, batch)
    assert (again["application"], again["attempt"]) == (second["application"], 2)
    eventually(lambda: server.metric("pkiserver_plant_batches_open") == 1, "the metrics to show the batch")
    station.enroll(server, again["card"], new_key()).certificate()
    listed = run_program(server.home, "plant", "batch", "show", str(batch))
    assert listed.returncode == 0
    assert again["card"] in listed.stdout
    reported = run_program(
        server.home, "plant", "batch", "report", str(batch), again["card"], "--carrier", "04A2", "--json"
    )
    assert reported.returncode == 0, reported.stderr
    assert len(live(server)) == len(applications)
    assert_consistent(server)
