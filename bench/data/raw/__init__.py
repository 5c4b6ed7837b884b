"""Raw files as they lie: containers, text and Parquet, and the texts, numbers and times in them."""
