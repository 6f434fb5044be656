"""The streaming KPI monitor: Kafka events to rolling KPIs, metrics and alerts."""
