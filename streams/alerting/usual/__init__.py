"""Detectors learn from closed windows what is usual of a KPI, one for each rule and scope."""
