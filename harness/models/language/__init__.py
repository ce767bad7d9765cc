"""Language models: their network."""
