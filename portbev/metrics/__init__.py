"""Metrics of the tasks: nuScenes detection."""
