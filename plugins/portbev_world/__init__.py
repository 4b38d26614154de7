"""The synthetic world that generated data sets share: solids, vehicles, roads, light, cameras and a lidar."""
