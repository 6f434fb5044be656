"""Campaigns, their plans and their changes."""
