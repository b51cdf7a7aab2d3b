"""Procedural RGB-D: furnished rooms that are rendered on the fly."""

from .source import SynthRooms

__all__ = ["SynthRooms"]
