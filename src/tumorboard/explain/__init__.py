"""Heat maps of the image regions that a prediction depends on."""
