"""Pri3D pre-training: from posed RGB-D frames to a weight folder of the zoo."""
