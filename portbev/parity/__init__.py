"""portbev.parity"""
