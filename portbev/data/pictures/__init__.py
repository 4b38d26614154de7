"""Preparation and augmentation of camera pictures, the same for all data sets."""
