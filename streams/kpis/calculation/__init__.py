"""Calculates KPI values and their confidence intervals from cells."""
