"""Readers, class matching, splits, hashes and the cache of decoded images."""
