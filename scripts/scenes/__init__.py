"""Synthetic games and plazas with exact masks and ids.

Lengths are in metres, times in seconds, angles in radians. The world has x along the court, y away from the camera, and
z upwards.
"""
