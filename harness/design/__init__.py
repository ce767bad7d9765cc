"""Composing a study from the command line: axes, cells, search spaces, checks, the identity of a study."""
