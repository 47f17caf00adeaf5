"""A package: else pytest puts this folder on the path, whose parts bear the names of our packages."""
