"""Networks that score the passages of a collection for a query."""
