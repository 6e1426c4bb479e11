"""How sure a tuned model is: fitted on its training frames, calibrated on simulations that it has not learned from."""
