"""Results as one record, and the reports made of it."""
