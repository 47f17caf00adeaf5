"""The register: certificates that ended, the feed of its events, histories, reports and webhooks."""
