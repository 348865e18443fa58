"""moesim.policies"""
