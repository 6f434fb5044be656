"""The subcommands of ``kpi-monitor``: one module for each, named after it."""
