"""NIfTI: read axial slices of a volume in a limited child process."""
