"""Methods that adapt a backbone to a task, one per file; methods of the PEFT library are YAMLs in conf/method."""

from harness.api.heads import Head, LinearHead, NeighbourHead
from harness.methods.base import ClosedForm, GradientTrained, Hooks, Method, Prompted, Recommender, Retriever

__all__ = [
    "ClosedForm", "GradientTrained", "Head", "Hooks", "LinearHead", "Method", "NeighbourHead", "Prompted",
    "Recommender", "Retriever",
]  # fmt: skip
