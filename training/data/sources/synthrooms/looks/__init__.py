"""What surfaces look like: patterns, pictures, materials, and the textures that they make."""
