"""A site of results: static files made of bundles, for a web server or a folder on a disk."""
