"""moesim.core"""
