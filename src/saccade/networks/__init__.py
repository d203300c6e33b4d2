"""Segmentation networks; any module from (B, 3, h, w) to scores (B, K, h', w') is one."""

from saccade.networks.adapters import Padded, Scores
from saccade.networks.build import build_network, require_network
from saccade.networks.published import SmallUNet

__all__ = ["Padded", "Scores", "SmallUNet", "build_network", "require_network"]
