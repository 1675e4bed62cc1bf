"""Models made of models: ensembles, which combine predictions, and chains, which build on embeddings."""
