//! Image layers: tar applied safely below a directory descriptor.
