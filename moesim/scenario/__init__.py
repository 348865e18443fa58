"""moesim.scenario"""
