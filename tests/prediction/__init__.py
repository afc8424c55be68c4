"""How good the predictions are: a report, not a test."""
