"""Apache Kafka and Valkey as child processes, and the feed: demo and tests."""
