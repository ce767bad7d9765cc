"""Weights in fewer bits: casts of frozen weights, quantized base weights."""
