"""The schema of a configuration and its checks. It does not import torch."""
