"""What weights are worth: probes without and with labels, semantic segmentation, detection."""
