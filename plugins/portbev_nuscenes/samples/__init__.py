"""Samples of nuScenes for training and evaluation.

``keyframes`` and ``lookedover`` are what the two data sets share: ``sweeps`` (BEVDepth) and ``queue`` (BEVFormer). The
other files read or compute one part of a sample: images, lidar depth, augmentation, ground truth, CAN bus and ego
motion, CBGS sampling. ``summary`` counts what is learnt from them.
"""
