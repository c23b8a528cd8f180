"""EasyAnimate V4: Hunyuan-DiT with full 3D attention."""
