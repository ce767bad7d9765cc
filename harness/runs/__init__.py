"""One run: from prepared inputs to a record."""
