"""A starting point for EasyAnimate plugins: a model that draws a moving disc."""
