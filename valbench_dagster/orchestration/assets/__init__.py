"""Assets, one module per group of the graph; every body is a shim over one step."""
