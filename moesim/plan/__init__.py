"""moesim.plan"""
