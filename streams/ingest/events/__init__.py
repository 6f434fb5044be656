"""Events: decoding, validation, deduplication, aggregation into panes."""
