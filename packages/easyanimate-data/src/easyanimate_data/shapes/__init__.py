"""Generated clips of moving shapes, and their judge: `ea data shapes`, `ea eval shapes`."""
