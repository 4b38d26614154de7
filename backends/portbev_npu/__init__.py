"""portbev_npu"""
