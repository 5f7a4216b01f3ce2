"""Between a path and Pillow: regular files alone, chosen formats, bounded sizes, no noise."""
