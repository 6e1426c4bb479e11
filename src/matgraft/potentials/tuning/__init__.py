"""What of a potential learns, on which frames, with which loss."""
