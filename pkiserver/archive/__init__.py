"""Archive units and packages: what is in them, pure, and whether a folder is what was signed."""
