"""What must be right about nuScenes data: found once here, for runs and for ``portbev data check``.

Each function returns problems. A run raises the first, and ``data check`` prints all of them.
"""
