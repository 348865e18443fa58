"""moesim.cost"""
