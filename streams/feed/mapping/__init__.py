"""The mapping language: a mapping file, its templates, filters, helpers and formats."""
