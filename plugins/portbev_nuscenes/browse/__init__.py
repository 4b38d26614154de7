"""nuScenes samples as a training sees them, for ``portbev data browse``."""
