"""portbev_emulated"""
