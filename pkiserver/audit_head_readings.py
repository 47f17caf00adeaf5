"""What Prometheus reads of the audit log's heads: of which record, when signed, when last sent each way."""

from pkiserver.audit_heads.heads import AuditHeads
from pkiserver.metrics import Metrics, Reading, Sample


def register_audit_heads(metrics: Metrics, heads: AuditHeads) -> None:
    """Have all of it shown; nothing before the first head."""

    def record() -> list[Sample]:
        return [] if heads.newest is None else [Sample(heads.newest.sequence)]

    def signed() -> list[Sample]:
        return [] if heads.newest is None else [Sample(heads.newest.at.timestamp())]

    def sent() -> list[Sample]:
        return [Sample(one.at.timestamp(), (way,)) for way, one in heads.sent.items()]

    metrics.read(Reading.AUDIT_HEAD_RECORD, record)
    metrics.read(Reading.AUDIT_HEAD_SIGNED, signed)
    metrics.read(Reading.AUDIT_HEAD_SENT, sent)
