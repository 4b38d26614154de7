"""The synthetic world that generated data sets share.

``catalogue`` lists kinds of objects; ``mesh``, ``street`` and ``vehicles`` make their shapes; ``tracks`` moves them.
``road`` is the ground, ``light`` the sky and sun. ``rig`` has the sensors: ``picture`` (with ``order``) renders camera
images, ``scan`` lidar sweeps.
"""
