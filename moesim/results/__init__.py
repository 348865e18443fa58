"""moesim.results"""
