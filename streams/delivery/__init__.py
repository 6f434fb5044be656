"""Stage 4: delivers alerts; one module per receiver."""
