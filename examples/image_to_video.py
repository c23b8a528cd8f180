"""Image to video: the clip begins with a given picture, and the prompt says how it goes on."""

import numpy as np
from easyanimate import open_model

# Any picture will do, of any size, also as a path: start_images="photo.png".
picture = np.full((64, 64, 3), 20, np.uint8)
picture[22:46, 8:32] = (40, 80, 230)

clip = open_model("v4").make("a blue square moves to the right", seed=1, start_images=picture)
print(clip.save("outputs/image_to_video.mp4"))
