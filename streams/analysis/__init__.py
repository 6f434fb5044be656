"""Answers derived from evaluations: funnels, outliers among peers, points, differences."""
