"""Heads that no architecture of transformers has, as small modules that an exported folder carries.

Each module stands alone, with torch and transformers, where it is loaded: so what two of them share is written in both.
"""
