"""Active learning: frames are sampled, some are chosen, labelled by DFT, and learned from, round by round."""
