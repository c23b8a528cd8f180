"""Long video: made in parts, each of which goes on from the last frames of the one before."""

from easyanimate import open_model

model = open_model("v4")
clip = model.make("a white triangle moves up", seed=1, num_frames=40, segment_frames=16, overlap_frames=4)
print(clip.save("outputs/long_video.mp4"))
