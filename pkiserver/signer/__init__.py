"""Keys and signatures, in processes of their own."""
