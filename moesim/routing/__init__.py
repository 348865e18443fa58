"""moesim.routing"""
