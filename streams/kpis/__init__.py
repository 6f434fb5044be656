"""Stage 2: reports to complete rolling windows and their KPIs."""
