"""What `pip install easyanimate` means: the command line and the newest model version. No code of its own."""
