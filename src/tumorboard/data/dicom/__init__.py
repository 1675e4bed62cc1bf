"""DICOM: one object read as a picture, patients told apart, and what a hostile file meets on the way."""
