"""nuImages, nuScenes' data set of single pictures: its tables, their conversion to COCO, and generated ones."""
