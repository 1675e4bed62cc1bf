"""The local page and its JSON API: `tumorboard serve`."""
