"""Video to video: a clip is taken apart by noise and made anew with another prompt; a mask keeps a part as it was."""

import numpy as np
from easyanimate import open_model

model = open_model("v4")
# Any clip will do, also as a path: video="clip.mp4".
source = model.make("a red circle moves to the left", seed=1).video

# Strength is the share of the denoising steps that are done: 1 keeps nothing of the source.
green = model.make("a green circle moves to the left", seed=2, video=source, strength=0.8)
print(green.save("outputs/video_to_video.mp4"))

# White (255) is made anew, black (0) stays: here the upper half. The demo weights have never seen a mask in training,
# so that only the official ones follow it.
mask = np.zeros((1, 64, 64), np.uint8)
mask[:, :32] = 255
half = model.make("a green circle moves to the left", seed=2, video=source, mask=mask)
print(half.save("outputs/video_to_video_masked.mp4"))
