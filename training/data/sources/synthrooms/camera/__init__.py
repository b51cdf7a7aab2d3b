"""Who holds the camera, and what it and the depth sensor make of what is seen."""
