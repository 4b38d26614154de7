"""The KITTI-like layout that EchoFusion uses: ``kitti`` reads it, ``convert`` (with ``infos``) writes it."""
