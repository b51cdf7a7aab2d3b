"""What weights are worth: the label-free probe and, later, the downstream tasks."""
