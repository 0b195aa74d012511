//! A content-addressed store of images and layers.
