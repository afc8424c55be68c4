"""Evidence of a workload as it stands, written to a folder or an archive: which slots, what of each, without secrets,
within bounds of time and size."""
