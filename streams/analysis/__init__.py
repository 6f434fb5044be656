"""Analyses of evaluations, made on request: funnel, peer outliers, points, differences."""
