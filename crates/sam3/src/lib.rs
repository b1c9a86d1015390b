//! SAM3 video.
