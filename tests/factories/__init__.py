"""Builders that several test modules share: times, cells, campaigns, events, reports, views.

`tests/support` has what runs: jobs without Kafka, clusters of workers, the calculation in SQL.
"""
