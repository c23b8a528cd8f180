"""Text to image: a clip of one frame."""

from easyanimate import open_model

image = open_model("v4").make("a yellow square moves up", seed=1, num_frames=1)
print(image.save("outputs/text_to_image.png"))
