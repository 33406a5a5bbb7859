"""Benchmarks: settings fixed beforehand, one results file a run, tables generated from them."""
