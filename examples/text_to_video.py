"""Text to video: from a prompt to an mp4 file."""

from easyanimate import open_model

clip = open_model("v4").make("a red circle moves to the right", seed=1)
print(clip.save("outputs/text_to_video.mp4"))
