"""From the command line to checked cells: axes, search spaces, the identity of a study."""
