"""A model's files: where they are found, what their names, sizes and headers tell, their digests."""
