"""Text classification: binary or multi-class, single texts or text pairs."""
