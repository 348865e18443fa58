"""moesim.model"""
