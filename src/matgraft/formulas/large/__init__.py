"""Tables of any size: predicted part by part, in the memory of a few parts, on any number of workers."""
