"""moesim.cli"""
