"""moesim.report"""
