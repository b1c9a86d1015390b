//! Frames out of a video file and pictures into one.
