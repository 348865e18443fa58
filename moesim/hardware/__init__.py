"""moesim.hardware"""
