"""What training sees of data: rows in memory or on a device, in batches."""
