"""`protocols.oid`: well formed, each once, and the same as the tables of two other libraries."""

from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid as second_opinion
from pkilint.etsi.asn1 import en_319_412_1, en_319_412_5

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader

NAMES = {name: value for name, value in vars(oid).items() if name.isupper()}

# The table of cryptography, and what our names have before the names there.
TABLES = [
    (second_opinion.NameOID, "", 12),
    (second_opinion.ExtensionOID, "", 9),
    (second_opinion.CRLEntryExtensionOID, "", 2),
    (second_opinion.ExtendedKeyUsageOID, "KP_", 4),
    (second_opinion.AuthorityInformationAccessOID, "AD_", 2),
    (second_opinion.SignatureAlgorithmOID, "", 5),
    (second_opinion.AttributeOID, "", 1),
    (ec.EllipticCurveOID, "", 3),
]


def test_each_is_given_once() -> None:
    assert len(set(NAMES.values())) == len(NAMES)


@pytest.mark.parametrize("value", NAMES.values(), ids=NAMES)
def test_each_is_an_oid(value: str) -> None:
    assert Reader(der.oid(value)).oid() == value


@pytest.mark.parametrize(("table", "prefix", "at_least"), TABLES, ids=lambda value: str(value))
def test_names_agree(table: type, prefix: str, at_least: int) -> None:
    theirs = {name: value.dotted_string for name, value in vars(table).items() if name.isupper()}
    shared = [name for name in theirs if prefix + name in NAMES]
    assert [NAMES[prefix + name] for name in shared] == [theirs[name] for name in shared]
    assert len(shared) >= at_least


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        (en_319_412_5, "id_etsi_qcs_QcCompliance", oid.QCS_QC_COMPLIANCE),
        (en_319_412_5, "id_etsi_qcs_QcLimitValue", oid.QCS_QC_LIMIT_VALUE),
        (en_319_412_5, "id_etsi_qcs_QcRetentionPeriod", oid.QCS_QC_RETENTION_PERIOD),
        (en_319_412_5, "id_etsi_qcs_QcSSCD", oid.QCS_QC_SSCD),
        (en_319_412_5, "id_etsi_qcs_QcPDS", oid.QCS_QC_PDS),
        (en_319_412_5, "id_etsi_qcs_QcType", oid.QCS_QC_TYPE),
        (en_319_412_5, "id_etsi_qcs_QcCClegislation", oid.QCS_QC_CC_LEGISLATION),
        (en_319_412_5, "id_etsi_qct_esign", oid.QCT_ESIGN),
        (en_319_412_5, "id_etsi_qct_eseal", oid.QCT_ESEAL),
        (en_319_412_5, "id_etsi_qct_web", oid.QCT_WEB),
        (en_319_412_1, "id_etsi_qcs_semanticsId_Natural", oid.SEMANTICS_NATURAL),
        (en_319_412_1, "id_etsi_qcs_SemanticsId_Legal", oid.SEMANTICS_LEGAL),
        (en_319_412_1, "id_etsi_qcs_semanticsId_eIDASNatural", oid.SEMANTICS_EIDAS_NATURAL),
        (en_319_412_1, "id_etsi_qcs_SemanticsId_eIDASLegal", oid.SEMANTICS_EIDAS_LEGAL),
        (en_319_412_1, "id_etsi_ext_valassured_ST_certs", oid.VALIDITY_ASSURED_SHORT_TERM),
    ],
)
def test_qualified_certificates(table: ModuleType, name: str, value: str) -> None:
    assert str(getattr(table, name)) == value
