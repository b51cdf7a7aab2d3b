"""Families of things, each with variants of shape: furniture, fittings, belongings."""
