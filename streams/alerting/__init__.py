"""Stage 3: turns KPI values into verdicts and alert states."""
