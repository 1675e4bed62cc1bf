"""DICOM: read an object as an image, group files by patient, and contain hostile files."""
