"""Tables of a report: columns, filters, pivots, formats."""
