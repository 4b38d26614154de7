"""Metrics of the tasks: nuScenes detection, RADIal detection."""
