"""portbev_cuda"""
