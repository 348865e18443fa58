"""moesim.engine"""
