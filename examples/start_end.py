"""Start and end image to video: the model fills in what happens between two pictures."""

import numpy as np
from easyanimate import open_model

start, end = np.full((2, 64, 64, 3), 20, np.uint8)
start[22:46, 6:30] = end[22:46, 34:58] = (220, 40, 40)

clip = open_model("v4").make("a red square moves to the right", seed=1, start_images=start, end_image=end)
print(clip.save("outputs/start_end.mp4"))
