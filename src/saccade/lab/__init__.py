"""Compare many ways of looking: train what is missing, evaluate, and say what a pixel buys."""

from saccade.lab.methods import ComparisonConfig, Method, Outcome, Trial

__all__ = ["ComparisonConfig", "Method", "Outcome", "Trial"]
