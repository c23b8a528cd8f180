"""What every EasyAnimate package and plugin shares: hooks, interfaces, shapes, weights, video files."""
