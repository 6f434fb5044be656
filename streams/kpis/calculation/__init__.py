"""From cells to KPI values with their intervals."""
