"""CRLs and OCSP responses signed ahead, composed: on the services of the issuing side."""

from config.schema import Settings
from pkiserver.ca.authorities import Authorities
from pkiserver.clock import Clock
from pkiserver.home import Home
from pkiserver.signer.client import Signer
from pkiserver.status.crl_publisher import CRLPublisher
from pkiserver.status.crl_scopes import CRLPolicy
from pkiserver.status.presigner import Presigner
from pkiserver.status.presigning import Presigning
from pkiserver.storage import Storage
from store.response_writer import ResponseTableWriter


def crl_publisher(
    home: Home,
    settings: Settings,
    *,
    storage: Storage,
    signer: Signer,
    clock: Clock,
    authorities: Authorities,
) -> CRLPublisher:
    """Return what publishes the CRLs of every authority, each by its section of the configuration."""
    return CRLPublisher(
        storage=storage,
        signer=signer,
        clock=clock,
        authorities=authorities,
        policies={
            name: CRLPolicy(
                one.crl_period,
                one.crl_overlap,
                one.crl_delta_period,
                one.status.retention,
                last_after_compromise=one.compromise_crl == "last",
            )
            for name, one in settings.authorities.items()
        },
        public_url=settings.public_url,
        folder=home.public,
    )


def presigning(
    home: Home,
    settings: Settings,
    *,
    storage: Storage,
    signer: Signer,
    clock: Clock,
    authorities: Authorities,
) -> Presigning:
    """Return what has OCSP responses signed into the home's table."""

    def make_presigner(table: ResponseTableWriter) -> Presigner:
        return Presigner(
            storage=storage,
            signer=signer,
            clock=clock,
            authorities=authorities,
            table=table,
            policies=settings.status_policies,
            hashes=settings.ocsp.hashes,
        )

    return Presigning(make_presigner, lambda: ResponseTableWriter(home.responses), clock)
