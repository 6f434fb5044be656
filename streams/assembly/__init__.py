"""Makes parts of a worker from the settings: topics, names, ingest, the engine."""
