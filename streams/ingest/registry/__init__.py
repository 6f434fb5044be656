"""Campaigns as ingest knows them."""
