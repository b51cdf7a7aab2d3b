"""A room: its plan, its shell, what stands in it and where, as triangles."""
