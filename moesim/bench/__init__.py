"""moesim.bench"""
