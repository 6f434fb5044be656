"""Campaigns, and what changes of them."""
