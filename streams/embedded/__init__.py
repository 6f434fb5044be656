"""Apache Kafka and Valkey as child processes, the feed and the demo; tests use them too."""
