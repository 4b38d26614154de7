"""portbev_rocm"""
