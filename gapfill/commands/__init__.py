"""The console command `gapfill`: a file for each of its commands."""
