"""The zoo: one file a family."""
