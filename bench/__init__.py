"""The harness: data, engine, cells, sweep, records, reports, command line."""
