"""The command line of the EasyAnimate toolkit."""
