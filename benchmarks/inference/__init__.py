"""What the engine of model calls costs and how fast it is, held against a raw client and the usual way."""
