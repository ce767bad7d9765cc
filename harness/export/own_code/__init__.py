"""Heads that no architecture of transformers has, as small modules that an exported folder carries."""
