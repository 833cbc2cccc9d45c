"""The functions' handlers, one module for each function: the top of the layer."""
