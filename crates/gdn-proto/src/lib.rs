//! Generated protobuf and gRPC code of the public API and the component boundaries.
