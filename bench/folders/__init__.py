"""Several run folders as one: merged, read together, taken from as baselines, and packed for others."""
