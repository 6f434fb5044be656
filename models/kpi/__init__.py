"""KPIs as data: measures, formulas, definitions, the catalogue and the user's additions."""
