"""Pickles that mmdet3d and the originals write: results of a detector, and infos. Nothing in them is executed."""
