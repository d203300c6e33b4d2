"""Compare many ways of looking: train what is missing, evaluate, and say what a pixel buys."""

from saccade.lab.methods import Arm, Case, Outcome, Setting

__all__ = ["Arm", "Case", "Outcome", "Setting"]
