"""How a backbone is adapted to a task. One variant a file; a PEFT method of the library is a YAML in conf/method."""

from harness.methods.base import ClosedForm, GradientTrained, Head, Hooks, LinearHead, Method, NeighbourHead

__all__ = ["ClosedForm", "GradientTrained", "Head", "Hooks", "LinearHead", "Method", "NeighbourHead"]
