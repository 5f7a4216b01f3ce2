"""What fills pictures for people: prepared for speed, and photos from disk."""
