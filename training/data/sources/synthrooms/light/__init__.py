"""Rays, lamps and the sun, what they light, and the picture that is seen."""
