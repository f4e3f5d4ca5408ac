"""Cards of datasets and models, rendered from their records alone."""
