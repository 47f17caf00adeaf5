"""The screen that a newcomer sees: where everything is, and commands to paste that use it."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pkiserver.app import Server
from pkiserver.control import local_actor
from pkiserver.errors import NotFoundError
from store import facts

PROFILE: Final = "tls-server"
EXAMPLE_NAME: Final = "www.example.mn"
_FACT: Final = "welcome-credential"


async def welcome(server: Server) -> str:
    """Make a fresh enrolment credential (the one of an earlier start is cancelled) and return the screen."""
    core = server.core
    await _cancel_former(server)
    new = await core.credentials.create(
        profile=PROFILE,
        subject=f"CN={EXAMPLE_NAME}",
        san=(f"dns:{EXAMPLE_NAME}",),
        limit_mnt=None,
        uses=1,
        lifetime=None,
        actor=local_actor(os.getuid()),
    )
    await core.storage.write(lambda tx: facts.put(tx, _FACT, new.reference))
    return _screen(server, new.reference, new.secret)


async def _cancel_former(server: Server) -> None:
    core = server.core
    former = await core.storage.read(lambda tx: facts.get(tx, _FACT))
    if former is not None:
        with suppress(NotFoundError):  # cancelled already
            await core.credentials.cancel(former, local_actor(os.getuid()))


def _screen(server: Server, reference: str, secret: str) -> str:
    home = server.core.home
    http, https, metrics = (_url(scheme, pairs) for scheme, pairs in _doors(server))
    ca = shown_path(home.public / "ca")
    program = f"{shown_path(Path(sys.argv[0]))} --home {shown_path(home.path)}"
    return f"""
pkiserver is running. Ctrl-C stops it. (Only warnings are logged here.)

  OCSP                          {http}/ocsp
  CRLs                          {http}/crl/NAME.crl
  CA certificates               {http}/ca/NAME.cer
  EST                           {https}/.well-known/est
  CMP                           {http}/.well-known/cmp
  metrics                       {metrics}/metrics
  health, readiness             {metrics}/health
                                {metrics}/ready

  root certificate              {ca}/root.pem
  all CA certificates           {ca}/chain.pem
  administrator's certificate   {shown_path(home.administrator)}/administrator.p12 and .pem,
                                their password in {shown_path(home.administrator)}/password

  an enrolment credential, good for one certificate
  of profile {PROFILE} for {EXAMPLE_NAME}:
      reference {reference}   secret {secret}

Try it in another terminal, in this folder:

  # make a key, and have it certified
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
      -subj /CN={EXAMPLE_NAME} -keyout my.key -out my.csr
  curl -sS --fail --cacert {ca}/root.pem \\
      -u '{reference}:{secret}' \\
      -H 'Content-Type: application/pkcs10' --data-binary @my.csr \\
      {https}/.well-known/est/simpleenroll |
      base64 -d | openssl pkcs7 -inform DER -print_certs -out my.crt
  # error 401: that credential is used up, expired or cancelled; another comes from
  # {program} credential create --profile {PROFILE}
  #     --subject CN={EXAMPLE_NAME} --san dns:{EXAMPLE_NAME}

  # ask whether it is good
  openssl ocsp -issuer {ca}/infrastructure.pem -cert my.crt \\
      -url {http}/ocsp -CAfile {ca}/chain.pem

  # fetch the CRL
  curl -sS --fail {http}/crl/infrastructure.crl |
      openssl crl -inform DER -noout -text

  # suspend it, and ask again (restore and revoke go likewise)
  {program} certificate suspend \\
      $(openssl x509 -in my.crt -noout -serial | cut -d= -f2)
"""


def _doors(server: Server) -> list[tuple[str, list[tuple[str, int]]]]:
    addresses = server.addresses
    return [("http", addresses.http), ("https", addresses.https), ("http", addresses.metrics)]


def _url(scheme: str, pairs: list[tuple[str, int]]) -> str:
    if not pairs:
        return "(closed)"
    host, port = pairs[0]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def shown_path(path: Path) -> str:
    """Return a path to paste into a shell, relative to the working folder where it lies within."""
    absolute = path.absolute()
    here = Path.cwd()
    return shlex.quote(str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute))
