"""Procedural RGB-D: furnished rooms that are rendered on the fly."""

from .source import SynthRooms
from .splits import SPLITS, seeds_of

__all__ = ["SPLITS", "SynthRooms", "seeds_of"]
