"""Stage 3: KPI values to verdicts and alert states."""
