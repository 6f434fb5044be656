"""Campaigns and exchange rates, as the registry topic defines them."""
