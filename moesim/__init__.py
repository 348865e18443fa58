"""moesim: a discrete-event hardware simulator for Mixture-of-Experts inference."""
