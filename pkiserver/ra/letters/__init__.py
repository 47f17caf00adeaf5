"""Letters: what holders and organisations are told, by mail or SMS, at least once."""
