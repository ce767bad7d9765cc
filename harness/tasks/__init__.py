"""Task families, one package each; each declares itself as `FAMILY` (see `harness.api.family`).

`runtime` has the contract that a family implements for training, evaluation and serving, `text_source` what families
of texts share: files and hub data sets, their columns, and their checks.
"""
